"""Which networks of timm are read as they read themselves, which are refused, and that none is misread.

    python benchmarks/families.py [--networks NAME …] [--largest 30] [--all]

Each network has random weights, of which every one is moved, so that no layer does nothing. It is built by the road of
``Encoder.named``; then, on another image than the one that checked it, its embedding is compared with the network's own
output: ``maps`` and ``tokens`` are read, ``refused`` raises one sentence, and ``misread`` differs by more than 1e-4 of
the norm. One network of each family of timm is built, the first in alphabetical order of at most ``--largest`` million
parameters, if one of the first six is; with ``--all`` every one of these sizes. Prints a table, and ends with 1 where
any is misread.
"""

import argparse
import sys
from collections import Counter

import timm
import torch

from episodes.errors import Mistake
from fsl_explain import Encoder

CLOSE = 1e-4
TRIED = 6  # networks of a family, until one is small enough


def shaken(network: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, values in (*network.named_parameters(), *network.named_buffers()):
            if values.is_floating_point():
                noise = 0.02 * torch.randn(values.shape, generator=generator)
                values.mul_(1 + noise.abs()) if "var" in name else values.add_(noise)


def fate(name: str) -> tuple[str, str]:
    """Return what became of a network, and the layer, the readout or the sentence."""
    try:
        encoder = Encoder.named(f"timm:{name}")
        shaken(encoder.network)
        side = encoder.image_size or 224
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(7))
        ours = encoder(images).embedding
    except Mistake as error:
        return "refused", str(error)
    except Exception as error:  # a network of the library may fail in any way
        return "failed", f"{type(error).__name__}: {error}"
    with torch.no_grad():
        own = encoder.network.eval()(images).flatten(1)
    if ours.shape != own.shape or (ours - own).norm() > CLOSE * own.norm():
        return "misread", f"{tuple(ours.shape)} and {tuple(own.shape)}"
    if encoder.tokens is not None:
        return "tokens", encoder.tokens.readout
    names = {module: name for name, module in encoder.network.named_modules()}
    return "maps", f"{names.get(encoder.layer, '')}, {encoder.reading.layout}"


def chosen(largest: float, every: bool) -> list[str]:
    """Return one small network of each of timm's modules, or all that are small."""
    found = []
    for module in timm.list_modules():
        small = []
        names = timm.list_models(module=module)
        for name in names if every else names[:TRIED]:
            if not every and small:
                break
            with torch.device("meta"):
                try:
                    size = sum(values.numel() for values in timm.create_model(name).parameters())
                except Exception:  # some cannot be outlined
                    continue
            small += [name] if size <= largest * 1e6 else []
        found += small
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", help="names; one of each family by default")
    parser.add_argument("--largest", type=float, default=30, help="millions of parameters")
    parser.add_argument("--all", action="store_true", help="every network of that size")
    given = parser.parse_args()
    counted: Counter[str] = Counter()
    for name in given.networks or chosen(given.largest, given.all):
        what, how = fate(name)
        counted[what] += 1
        print(f"{what:8} {name:40} {how}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in counted.items()), f"{counted['misread']} misread", sep="; ")
    return 1 if counted["misread"] else 0


if __name__ == "__main__":
    sys.exit(main())
