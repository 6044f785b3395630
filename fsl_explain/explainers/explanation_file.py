"""One file that holds an explanation: tensors and a JSON text in safetensors' format, which runs no code when read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from episodes.errors import MissingFile, Mistake
from fsl_explain.files import written_aside

SUFFIX = ".safetensors"
FORMAT = 1
FACTS, FORMAT_KEY, DIGEST = "fsl-explain explanation", "format", "sha256"


def write(path: str | Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write facts, which are plain values, and tensors to one file; it is there whole or not at all.

    Raises: ``ValueError`` for a name that does not end in .safetensors.
    """
    place = Path(path)
    if place.suffix != SUFFIX:
        raise Mistake(f"expected a file name that ends in {SUFFIX}, but got {place.name}; add it.")
    text = json.dumps(facts, sort_keys=True)
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {FACTS: text, FORMAT_KEY: str(FORMAT), DIGEST: _digest(text, whole)}
    with written_aside(place) as aside:
        save_file(whole, aside, metadata)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the facts and tensors of a file.

    Raises: ``FileNotFoundError`` where there is none; ``ValueError`` for one that is damaged, of another kind or of
    a newer format.
    """
    place = Path(path)
    if not place.is_file():
        raise MissingFile(f"the explanation {place} does not exist; check the path.")
    try:
        with safe_open(place, "pt") as file:
            metadata = file.metadata() or {}
            _check_kind(metadata, place)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError) as error:
        raise Mistake(f"{place} is damaged, or no safetensors file ({error}); save the explanation again.") from error
    text = metadata[FACTS]
    if metadata.get(DIGEST) != _digest(text, tensors):
        raise damaged(place)
    facts: dict[str, Any] = json.loads(text)
    return facts, tensors


def damaged(path: str | Path) -> Mistake:
    """Return the error for a file whose content is not what was written."""
    return Mistake(f"the explanation {path} is damaged: its content is not what was written; save it again.")


def _check_kind(metadata: Mapping[str, str], path: Path) -> None:
    if FACTS not in metadata or not metadata.get(FORMAT_KEY, "").isdecimal():
        raise Mistake(f"expected an explanation that save() wrote, but {path} holds something else; give that file.")
    if int(metadata[FORMAT_KEY]) > FORMAT:
        raise Mistake(
            f"the explanation {path} has format {metadata[FORMAT_KEY]}, but this version reads up to {FORMAT}; "
            "install the version that wrote it, or a newer one."
        )


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
