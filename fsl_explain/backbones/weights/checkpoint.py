"""Files of weights, read as data: safetensors and PyTorch's, never code."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from episodes.errors import MissingFile, Mistake, TooLarge
from fsl_explain.backbones.weights.legacy_pickle import read_inert
from fsl_explain.backbones.weights.pickle_names import DamagedFileError, RefusedPickleError
from fsl_explain.backbones.weights.torchscript import is_scripted, scripted_state


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a PyTorch file restricted to tensors.

    Raises: ``FileNotFoundError`` for a missing file, ``ValueError`` for one that is broken or that
    wants to run code; the sentence names what it wanted. Nothing of it has run by then.
    """
    content = read_content(path)
    state = content
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise not_a_state(path, state)
    return dict(state)


def not_a_state(path: Path, content: object) -> Mistake:
    """Return the error to raise where a file holds something else than a state dict."""
    return Mistake(
        f"expected a state dict (parameter name → tensor) in {path}, but got {type(content).__name__}; "
        "save model.state_dict() instead of the model."
    )


def read_content(path: Path, mapped: bool = False) -> Any:
    """Read all that a ``.safetensors`` or a PyTorch file holds; live objects of known releases become ``Inert``.

    Of an archive of TorchScript it is the tensors of the module.

    Nothing that a file names is run, and no small file takes much memory. PyTorch's own restricted reader is not asked:
    it can be made to fill the memory, or to end the interpreter. With ``mapped`` the tensors of PyTorch's archives stay
    in the file until they are used.

    Raises: ``FileNotFoundError``; ``ValueError`` for a file that is damaged or names anything that is not on the lists
    of ``pickle_names``; ``MemoryError`` for one that is too large for this machine.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFile(f"expected a checkpoint file, but {path} {what}.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, mapped)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts in the header of a ``.safetensors`` file; any other file has none."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that hold NaN or infinity, naming the tensors."""
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise Mistake(
            f"expected finite weights, but {listed('NaN or infinite', broken)} in {source}; "
            "train again or use another checkpoint."
        )


def check_usable(network: nn.Module, source: str) -> None:
    """Refuse parameters that hold NaN or infinity, and buffers that hold NaN: a mask may be infinite."""
    buffers = {name: value for name, value in network.named_buffers() if value.isnan().any()}
    check_finite(dict(network.named_parameters()) | buffers, source)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise Mistake(
            f"expected a safetensors file, but {path} cannot be read ({error}); download it again."
        ) from error


def _read_torch(path: Path, mapped: bool) -> Any:
    try:
        content = read_inert(path, mapped)
        return scripted_state(content) if is_scripted(content) else content
    except RefusedPickleError as error:
        raise Mistake(
            f"refused {path}: it is a pickle that asks for {error.wanted}, and loading that could run code; "
            "convert it to a plain state dict or to safetensors where you trust it."
        ) from error
    except DamagedFileError as error:
        raise Mistake(
            f"expected a PyTorch checkpoint, but {path} cannot be read: {error}; download it again."
        ) from error
    except MemoryError as error:
        raise TooLarge(
            f"expected room in memory for {path} of {path.stat().st_size >> 20} MiB, but there is not enough; end "
            "other programs or use a larger machine."
        ) from error
    except Exception as error:  # a damaged file can fail in any way
        raise Mistake(f"expected a PyTorch checkpoint, but {path} cannot be read; download it again.") from error


def listed(what: str, names: list[str]) -> str:
    """Say how many names there are, and the first three."""
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
