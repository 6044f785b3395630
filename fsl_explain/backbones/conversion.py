"""Official checkpoints written as safetensors under our names.

What such a file was made of stands in its own header, so that weights and manifest cannot be parted, and one rename
puts both in place.
"""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from episodes.errors import Mistake
from fsl_explain.backbones.named import HEAD, build_named
from fsl_explain.backbones.named_network import NamedNetwork
from fsl_explain.backbones.tail import IGNORE
from fsl_explain.backbones.weights.checkpoint import sha256_of
from fsl_explain.backbones.weights.loading import MANIFEST, LoadingReport, trained_on
from fsl_explain.backbones.weights.trained_on import TRAINED_ON
from fsl_explain.files import written_aside

RECORDED = ("fsl-explain", "torch", "safetensors")


def convert(
    path: Path, network: str, out: Path, release: str | None = None, *, part: str | None = None, **architecture: Any
) -> LoadingReport:
    """Write an official checkpoint as safetensors under the names of a named network, and say what became of it.

    The header records the source and its SHA-256, the release, the options of network and images that the weights
    expect, and every tensor that was left out. ``architecture`` adds to those options; ``part`` names the keys and the
    prefix of one of several networks in a file.

    Raises: as ``open_checkpoint`` and ``load_weights``; ``ValueError`` for an ``out`` that is the source or does not
    end in .safetensors. Nothing is written then.
    """
    if out.suffix != ".safetensors":
        raise Mistake(f"expected an output that ends in .safetensors, but got {out}; rename it.")
    if out.exists() and path.exists() and out.samefile(path):
        raise Mistake(f"expected another file than the checkpoint itself as the output, but got {out}; rename it.")
    built = build_named(network, path, release=release, part=part, tail=IGNORE, **architecture)
    if built.report is not None and built.report.unfilled:
        raise Mistake(
            f"expected all weights of {network} in {path}, but it lacks those behind the explained layer, first "
            f"{built.report.unfilled[0]}; use it as --checkpoint as it is."
        )
    if built.report is None:
        raise Mistake(f"expected weights in {path}, but none were loaded; check the file.")
    manifest: dict[str, Any] = {
        "network": network,
        "settings": {**built.report.settings, **architecture},
        "release": built.report.release,
        "source": path.name,
        "sha256": sha256_of(path),
        "dropped": dict(built.report.dropped),
        "beside": list(built.report.beside),
        "versions": {name: version(name) for name in RECORDED},
    }
    learned = trained_on(path)
    if learned:
        manifest[TRAINED_ON] = [asdict(one) for one in learned]
    _write(built, built.report, manifest, out)
    return built.report


def _write(built: NamedNetwork, report: LoadingReport, manifest: dict[str, Any], out: Path) -> None:
    tensors = dict(built.network.state_dict())
    if built.head is not None:
        tensors |= {f"{HEAD}.{name}": value for name, value in built.head.state_dict().items()}
    state = {name: tensors[name].contiguous() for name in report.loaded}
    with written_aside(out) as aside:
        save_file(state, aside, metadata={MANIFEST: json.dumps(manifest, ensure_ascii=False)})
