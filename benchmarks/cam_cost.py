"""What Grad-CAM of a class logit costs beside captum and pytorch-grad-cam, and LaFAM beside the forward pass.

    python benchmarks/cam_cost.py [--batch 16] [--repeats 5]
    OMP_NUM_THREADS=1 python benchmarks/cam_cost.py  # in processor time, which other programs do not change

ResNet-50 of torchvision with random weights, images of 224×224; the maps of one given class, rectified and of the
images' size on every side. Prints ours : captum (required at most 1.00), pytorch-grad-cam : ours (at least 1.30),
Grad-CAM : the forward pass, and LaFAM : the forward pass (at most 1.02), each the median over repeats of ratios
measured side after side in turn; then how far our cells are from captum's. ``bare`` is the encoder's own call, the
forward pass on the same images in the same memory format.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.models import resnet50

from fsl_explain import Encoder, saliency
from fsl_explain.explainers.methods.class_logit import class_logit_map

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import LayerAttribution, LayerGradCam
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
TARGET = 7


def seconds(function: Callable[[], object]) -> float:
    start = CLOCK()
    function()
    return CLOCK() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = resnet50().eval()
    encoder, images = Encoder.wrap(network, "layer4"), torch.randn(options.batch, 3, 224, 224)

    def captum() -> Tensor:
        cells = LayerGradCam(network, network.layer4).attribute(images, TARGET, relu_attributions=True)
        return LayerAttribution.interpolate(cells, (224, 224), "bilinear")[:, 0].detach()

    def pytorch_grad_cam() -> Tensor:
        with GradCAM(network, [network.layer4]) as peer:
            return torch.from_numpy(peer(images, [ClassifierOutputTarget(TARGET)] * options.batch))

    def bare() -> object:
        with torch.no_grad():
            return network(images.contiguous(memory_format=torch.channels_last))

    sides: dict[str, Callable[[], object]] = {
        "ours": lambda: saliency(encoder, images, method="grad-cam", target=TARGET),
        "captum": captum,
        "pytorch-grad-cam": pytorch_grad_cam,
        "LaFAM": lambda: saliency(encoder, images, method="lafam"),
        "bare": bare,
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(options.repeats + 1):
        for name, side in sides.items():
            taken = seconds(side)
            if repeat > 0:
                times[name].append(taken)

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))

    print(f"ResNet-50, batch of {options.batch}, {torch.get_num_threads()} threads, {CLOCK.__name__}")
    for name, taken in times.items():
        print(f"  {name:17} {1000 * statistics.median(taken):8.0f} ms")
    pairs = [("ours", "captum"), ("pytorch-grad-cam", "ours"), ("ours", "bare"), ("LaFAM", "bare")]
    for one, other in pairs:
        print(f"  {one} : {other} = {ratio(one, other):.3f}")
    expected = LayerGradCam(network, network.layer4).attribute(images, TARGET)[:, 0].detach()
    moved = (class_logit_map(encoder, images, "grad-cam", TARGET).cells - expected).abs().max() / expected.abs().max()
    print(f"  largest difference from captum's cells before the ReLU, of the largest: {float(moved):.1e}")


if __name__ == "__main__":
    main()
