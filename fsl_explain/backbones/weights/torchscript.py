"""TorchScript archives as state dicts, such as OpenAI's of CLIP: the tensors of their modules, none of their code."""

from typing import Any

from torch import Tensor

from fsl_explain.backbones.weights.pickle_names import DamagedFileError, Inert

CLASSES = "__torch__"
DEEPEST, MOST = 64, 100_000  # modules one in the other, and tensors


def is_scripted(content: object) -> bool:
    """Whether what was read of a file is a module of TorchScript."""
    return isinstance(content, Inert) and content.kind.startswith(CLASSES)


def scripted_state(content: Inert) -> dict[str, Tensor]:
    """Return parameters, buffers and other tensors of a module by their dotted names.

    Raises: ``DamagedFileError`` for modules without an end.
    """
    found: dict[str, Tensor] = {}
    left: list[tuple[str, Any, int]] = [("", content, 0)]
    while left:
        name, value, depth = left.pop()
        if isinstance(value, Tensor):
            found[name] = value
        elif is_scripted(value):
            left += [(f"{name}.{key}" if name else str(key), one, depth + 1) for key, one in value.state.items()]
        if depth > DEEPEST or len(found) + len(left) > MOST:
            raise DamagedFileError("its modules have no end")
    return dict(sorted(found.items()))
