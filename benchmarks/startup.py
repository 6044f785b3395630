"""How soon commands and imports answer, beside importing torch.

    python benchmarks/startup.py --repeats 5

Each line is the median over repeats of the wall time of a process, divided by that of ``import torch`` in a process of
its own, measured side after side in turn.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

IMPORTS = ("episodes", "fsl_explain", "retrieval_explain")
CALLS = {
    "fsl_explain": (["--help"], ["--version"], ["evaluate", "--help"], ["explain", "--help"], ["evaluate", "--confg"]),
    "retrieval_explain": (["--help"], ["--version"], ["search", "--help"], ["inspect", "--help"]),
}


def seconds(code: str, arguments: Sequence[str] = ()) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    timed: dict[str, tuple[str, Sequence[str]]] = {f"import {name}": (f"import {name}", ()) for name in IMPORTS}
    for package, calls in CALLS.items():
        for call in calls:
            name = f"{package.replace('_', '-')} {' '.join(call)}"
            timed[name] = (f"from {package}.cli import main; main()", call)
    seconds("import torch")
    found: dict[str, list[float]] = {name: [] for name in timed}
    floor = []
    for _ in range(repeats):
        floor.append(seconds("import torch"))
        for name, (code, arguments) in timed.items():
            found[name].append(seconds(code, arguments) / floor[-1])
    print(f"import torch: {statistics.median(floor):.2f} s, median of {repeats}")
    for name, ratios in found.items():
        print(f"{name:38} {statistics.median(ratios):.3f} of it ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
