"""What explaining a decision costs beside the forward pass whose features it starts from.

    python benchmarks/decision_cost.py [--repeats 9]

First ratio: exact and contrast explanations with their maps on both sides, all receipts, and the support audit of
a batch of 75 queries, 5-way 5-shot, features given, over one ResNet-18 forward pass of the 75 queries at 84×84.
Second ratio: one correspondence of 7×7 with 7×7 cells through a head 2048 → 128, over one ResNet-50 forward pass at
224×224. Medians over repeats that alternate both sides. Weights are random; they do not change the cost.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from fsl_explain import Encoder, correspondence, support_audit
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.heads import L2Normalize


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(ours: Callable[[], object], floor: Callable[[], object], repeats: int) -> tuple[float, float]:
    ours(), floor()
    times = [(seconds(ours), seconds(floor)) for _ in range(repeats)]
    return statistics.median(a / b for a, b in times), statistics.median(b for _, b in times)


def decision(repeats: int) -> None:
    encoder = Encoder.named("torchvision:resnet18", size=84)
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(75, 3, 84, 84, generator=generator)
    compared = compare(encoder, queries, torch.randn(5, 5, 3, 84, 84, generator=generator))

    def explained() -> None:
        for method in ("exact", "contrast"):
            explanation = explain_compared(compared, method, Choice())
            _ = [explanation[i].receipt() for i in range(75)]
        support_audit(explanation)

    parts = {
        "exact and contrast alone": lambda: [explain_compared(compared, m, Choice()) for m in ("exact", "contrast")],
        "with receipts and support audit": explained,
    }
    for name, part in parts.items():
        found, floor = ratio(part, lambda: encoder(queries), repeats)
        print(f"  {name:32} : ResNet-18 forward of 75 queries at 84×84 = {found:.3f}  (forward {1000 * floor:.0f} ms)")


def one_correspondence(repeats: int) -> None:
    head = nn.Sequential(nn.Linear(2048, 128), L2Normalize())
    encoder = Encoder.named("torchvision:resnet50", head=head)
    images = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    explanation = explain_compared(compare(encoder, images[:1], images[1:, None]), "contrast", Choice())[0]
    found, floor = ratio(lambda: correspondence(explanation), lambda: encoder(images[:1]), repeats)
    print(f"  {'one correspondence':32} : ResNet-50 forward at 224×224 = {found:.4f}  (forward {1000 * floor:.0f} ms)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    decision(options.repeats)
    one_correspondence(options.repeats)


if __name__ == "__main__":
    main()
