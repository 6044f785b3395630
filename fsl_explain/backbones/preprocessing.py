"""How the images of a network are prepared, as its weights expect it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torchvision.transforms as v1
from torch import Tensor, nn
from torchvision.transforms import v2

from episodes import BlueGreenRed, center_crop, direct_resize
from episodes.errors import Mistake
from episodes.geometry import made_of
from episodes.naming import unknown_name
from episodes.resizing import steps_of

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
OF_THE_IMAGES = ("size", "mean", "std")
"""The options of a named encoder that are of its images."""
INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """Images of ``size`` × ``size`` pixels, normalized by a mean and a standard deviation of pixels in [0, 1].

    Without ``resize`` an image is squeezed to the square whatever its aspect ratio. With it, its shorter side becomes
    ``resize``, or both sides do with ``squeeze``, and the central square is cut out. ``mean`` and ``std`` are in the
    order of the channels: blue, green, red with ``bgr``. ``interpolation`` is one of ``INTERPOLATIONS``.

    Raises: ``ValueError`` for a size below 1, a mean or deviation that is not of three channels, a deviation of 0, or
    an unknown interpolation.
    """

    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: int | None = None
    bgr: bool = False
    squeeze: bool = False
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise Mistake(f"expected images of at least 1 pixel, but got size {self.size!r}; give the side in pixels.")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise Mistake(
                f"expected a mean and a positive standard deviation for each of three channels, but got "
                f"{list(self.mean)} and {list(self.std)}; give three numbers each, of pixels in [0, 1]."
            )
        if self.interpolation not in INTERPOLATIONS:
            raise Mistake(
                f"expected an interpolation among {', '.join(INTERPOLATIONS)}, but got {self.interpolation!r}."
            )

    def changed(
        self, size: int | None = None, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> "Preprocessing":
        """Return the same preparation with another size, mean or deviation; the share that is cut out stays."""
        side = self.size if size is None else size
        resize = None if self.resize is None else round(self.resize * side / self.size)
        return replace(
            self,
            size=side,
            resize=resize,
            mean=self.mean if mean is None else tuple(mean),
            std=self.std if std is None else tuple(std),
        )

    @property
    def transform(self) -> nn.Module:
        """The preparation as a transform, which moves boxes and masks with their image."""
        how: dict[str, Any] = {"bgr": self.bgr, "interpolation": self.interpolation}
        if self.resize is None:
            return direct_resize(self.size, self.mean, self.std, **how)
        resize = (self.resize, self.resize) if self.squeeze else self.resize
        return center_crop(resize, self.size, self.mean, self.std, **how)


def separated(
    name: str, architecture: Mapping[str, Any], known: Iterable[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a named network, those that are ``known``, and those of its images.

    Raises: ``LookupError`` for any other, with the nearest names.
    """
    names = list(known)
    for option in architecture:
        if option not in (*OF_THE_IMAGES, *names):
            raise unknown_name(f"option of {name}", option, ["seed", *OF_THE_IMAGES, *names])
    options = {option: value for option, value in architecture.items() if option in names}
    return options, {option: value for option, value in architecture.items() if option not in names}


def normalization_of(transform: object) -> tuple[list[float], list[float]] | None:
    """Return the mean and the deviation of a torchvision transform's last normalization, or None without one."""
    found = [step for step in steps_of(transform) if isinstance(step, v2.Normalize | v1.Normalize)]
    return (_numbers(found[-1].mean), _numbers(found[-1].std)) if found else None


def reverses_channels(transform: object) -> bool:
    """Whether a torchvision transform makes images whose channels are blue, green and red."""
    return sum(map(_reverses, steps_of(transform))) % 2 == 1


def square_side(transform: object) -> int | None:
    """Return the side of the square images that a torchvision transform makes, or None when it does not show it."""
    kinds = v2.Resize | v2.CenterCrop | v1.Resize | v1.CenterCrop
    sizes = [step.size for step in steps_of(transform) if isinstance(step, kinds)]
    last = sizes[-1] if sizes else None
    return int(last[0]) if isinstance(last, list | tuple) and len(last) == 2 and last[0] == last[1] else None


def prepared_at(transform: Any, side: int) -> Any:
    """Return a preprocessing of torchvision that makes square images of another side, with all else the same.

    What is resized before it is cut keeps its ratio to it. One that does not show its side stays as it is.
    """
    usual = square_side(transform)
    return transform if usual is None or usual == side else _enlarged(transform, side / usual)


def _reverses(step: object) -> bool:
    """Whether a step reverses the channels: ours, or a function that does it to a small image."""
    probe = torch.arange(12.0).reshape(3, 2, 2) / 12
    return isinstance(step, BlueGreenRed) or made_of(step, probe, probe.flip(0))


def _numbers(values: Tensor | float | Iterable[float]) -> list[float]:
    """Return numbers of a tensor, a sequence or one number, as they are."""
    if isinstance(values, Tensor):
        return [float(value) for value in values.flatten().tolist()]
    return [float(value) for value in values] if isinstance(values, Iterable) else [float(values)]


def _enlarged(step: Any, factor: float) -> Any:
    if isinstance(step, v2.Compose | v1.Compose):
        return type(step)([_enlarged(part, factor) for part in step.transforms])
    if isinstance(step, torch.nn.Sequential):
        return torch.nn.Sequential(*(_enlarged(part, factor) for part in step))
    if isinstance(step, v2.Resize | v1.Resize):
        more = {"max_size": None if step.max_size is None else round(step.max_size * factor)}
        return type(step)(_larger(step.size, factor), step.interpolation, antialias=step.antialias, **more)
    if isinstance(step, v2.CenterCrop | v1.CenterCrop):
        return type(step)(_larger(step.size, factor))
    return step


def _larger(size: Any, factor: float) -> Any:
    found = [round(side * factor) for side in ([size] if isinstance(size, int) else size)]
    return found[0] if isinstance(size, int) else found
