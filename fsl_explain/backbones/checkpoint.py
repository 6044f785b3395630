"""Loading of weights: safetensors or a plain state dict, never code."""

import hashlib
import pickle
import pickletools
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict from ``.safetensors``, or from a PyTorch file restricted to tensors.

    Raises: ``FileNotFoundError`` for a missing file, ``ValueError`` for one that is broken or that
    wants to run code; the sentence names what it wanted. Nothing of it has run by then.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a checkpoint file, but {path} does not exist.")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(
            f"expected a state dict (parameter name → tensor) in {path}, but got {type(state).__name__}; "
            "save model.state_dict() instead of the model."
        )
    return dict(state)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a checkpoint into ``network``; every key must match.

    Raises: ``ValueError`` naming the missing and unexpected keys, shapes that differ, or the tensors
    that hold NaN or infinity.
    """
    state = read_state(path)
    expected = network.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise ValueError(
            f"the checkpoint {path} does not fit {type(network).__name__}: {_listed('missing', missing)}, "
            f"{_listed('unexpected', unexpected)}; check the encoder's name and architecture."
        )
    for name, value in state.items():
        if value.shape != expected[name].shape:
            raise ValueError(
                f"expected {name} of shape {tuple(expected[name].shape)}, but {path} holds {tuple(value.shape)}; "
                "check the encoder's architecture."
            )
    check_finite(state, str(path))
    network.load_state_dict(state, strict=False)


def check_finite(state: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that hold NaN or infinity, naming the tensors."""
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ValueError(
            f"expected finite weights, but {_listed('NaN or infinite', broken)} in {source}; "
            "train again or use another checkpoint."
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"expected a safetensors file, but {path} cannot be read ({error}); download it again."
        ) from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        wanted = _wanted(str(error)) or _first_global(path)
        if isinstance(error, pickle.UnpicklingError) and wanted is not None:
            raise ValueError(
                f"refused {path}: it is a pickle that asks for {wanted}, and loading that could run code; "
                "convert it to a plain state dict or to safetensors where you trust it."
            ) from error
        raise ValueError(f"expected a PyTorch checkpoint, but {path} cannot be read; download it again.") from error


def _wanted(message: str) -> str | None:
    for marker in ("GLOBAL ", "Unsupported global: "):
        if marker in message:
            return message.split(marker, 1)[1].split(maxsplit=1)[0].rstrip(",.`")
    return None


def _first_global(path: Path) -> str | None:
    """Return what a pickle would import first, containers aside, read from its opcodes; nothing of it runs."""
    strings: list[str] = []
    remembered: dict[int, str] = {}
    with path.open("rb") as file, suppress(Exception):
        for opcode, argument, _ in pickletools.genops(file):
            wanted = None
            if opcode.name in ("GLOBAL", "INST"):
                wanted = str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                wanted = ".".join(strings[-2:])
            elif opcode.name == "MEMOIZE":
                remembered[len(remembered)] = strings[-1] if strings else ""
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                strings.append(remembered.get(int(argument or 0), ""))
            elif isinstance(argument, str):
                strings.append(argument)
            if wanted not in (None, "collections.OrderedDict"):
                return wanted
    return None


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
