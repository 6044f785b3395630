"""What a family of encoders is: a module that builds networks of a library, with the images they were trained on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from episodes.errors import MissingPackage, Mistake
from fsl_explain.backbones.families.text_part import TextPart
from fsl_explain.backbones.preprocessing import Preprocessing

DOWNLOAD = "download"
"""The option of every family that lets its library fetch published weights."""


Outcome = Callable[[Any], Tensor | None]
Rename = Callable[[Mapping[str, Tensor], nn.Module], Mapping[str, Tensor]]


def as_they_are(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:  # noqa: ARG001 - a Rename
    """Return the tensors of a checkpoint as they are."""
    return state


def the_tensor(output: Any) -> Tensor | None:
    """Return what a network returns where that is a tensor, else None."""
    return output if isinstance(output, Tensor) else None


@dataclass(frozen=True)
class Member:
    """A network of a family, and what its library says of it.

    - ``weights``: words for where they come from, or None for random ones.
    - ``side``: that of square images at which the network runs as it was built.
    - ``classifies``: whether the network returns what a last linear layer makes of its own feature; otherwise it
      returns that feature.
    - ``classifiers``: how names of tensors begin that a checkpoint may hold beside the network, and that are left out.
    - ``checkpoint``: the file of weights that the name itself says.
    - ``outcome``: takes the embedding out of what the network returns; None for something else.
    - ``pooled``: the layer whose maps are taken where no reading gives the network's own feature and the pooled maps
      are meant; None: the last of maps.
    - ``rename``: gives the tensors of a checkpoint, of other publishers too, the library's names.
    - ``text``: the half for text of the same model.
    - ``without_text``: why a model of images and texts has no half for text here, and what to do.
    """

    network: nn.Module
    preprocessing: Preprocessing
    weights: str | None
    side: int
    classifies: bool = False
    classifiers: tuple[str, ...] = ()
    checkpoint: Path | None = None
    outcome: Outcome = the_tensor
    pooled: str | None = None
    rename: Rename = as_they_are
    text: TextPart | None = None
    without_text: str = ""


@runtime_checkable
class Family(Protocol):
    """A module of ``families``, listed in ``FAMILIES``.

    ``OPTIONS`` are the keywords that ``build`` takes beside the name and the side of the images.
    """

    OPTIONS: tuple[str, ...]

    def build(self, name: str, size: int | None, **options: Any) -> Member:
        """Build a network by the name that its library gives it, for square images of a side, None for its own.

        Raises: ``LookupError`` for an unknown name, ``ImportError`` without the library.
        """
        ...


def library(package: str, family: str, name: str) -> Any:
    """Import the library of a family. Raises: ``ImportError`` that says which extra to install."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackage.of_extra(family.replace("_", "-"), package, f"{family}:{name}") from error


def checked_download(download: object) -> bool:
    """Return whether published weights may be fetched. Raises: ``ValueError`` for anything but true or false."""
    if not isinstance(download, bool):
        raise Mistake(f"expected {DOWNLOAD} to be true or false, but got {download!r}; give one of the two.")
    return download


def local_file(path: str) -> Path:
    """Return the path of a file that a name ends in. Raises: ``ValueError`` where there is none."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise Mistake(f"expected a file of weights behind the name, but {path} does not exist; check the path.")
    return found
