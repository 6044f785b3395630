"""BN-Inception with the parameter names of Cadene's port, which metric learning builds on.

Source: Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift", 2015; the widths are those of the weights that circulate, converted from Caffe.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake


@dataclass(frozen=True)
class _Inception:
    """Channels of one inception: branches of 1×1, 3×3 and double 3×3 convolutions, and a pooled one.

    Without ``single`` the others halve the resolution, and the pooled branch is the maximum itself.
    """

    name: str
    channels: int
    single: int
    reduced: int
    middle: int
    reduced_double: int
    double: int
    projected: int
    pool: str = "average"

    @property
    def stride(self) -> int:
        return 1 if self.single else 2

    @property
    def units(self) -> dict[str, tuple[int, int, int, int]]:
        """Name → channels in, channels out, side of the kernel and stride of each convolution."""
        halves = self.stride
        single = {"1x1": (self.channels, self.single, 1, 1), "pool_proj": (self.channels, self.projected, 1, 1)}
        spread = {
            "3x3_reduce": (self.channels, self.reduced, 1, 1),
            "3x3": (self.reduced, self.middle, 3, halves),
            "double_3x3_reduce": (self.channels, self.reduced_double, 1, 1),
            "double_3x3_1": (self.reduced_double, self.double, 3, 1),
            "double_3x3_2": (self.double, self.double, 3, halves),
        }
        return single | spread if self.single else spread


INCEPTIONS = (
    _Inception("3a", 192, 64, 64, 64, 64, 96, 32),
    _Inception("3b", 256, 64, 64, 96, 64, 96, 64),
    _Inception("3c", 320, 0, 128, 160, 64, 96, 0),
    _Inception("4a", 576, 224, 64, 96, 96, 128, 128),
    _Inception("4b", 576, 192, 96, 128, 96, 128, 128),
    _Inception("4c", 576, 160, 128, 160, 128, 160, 128),
    _Inception("4d", 608, 96, 128, 192, 160, 192, 128),
    _Inception("4e", 608, 0, 128, 192, 192, 256, 0),
    _Inception("5a", 1056, 352, 192, 320, 160, 224, 128),
    _Inception("5b", 1024, 352, 192, 320, 192, 224, 128, pool="max"),
)


class BNInception(nn.Module):
    """Ten inceptions behind a stem of three convolutions, with batch normalization and ReLU after each convolution.

    Returns activation maps: 1024×7×7 for images of 227×227 (or 224×224). Its max poolings round sizes up.

    Raises: ``ValueError`` for images with a map of an odd side where it halves: convolutions and poolings then differ.
    """

    def __init__(self) -> None:
        super().__init__()
        self._add("conv1_7x7_s2", 3, 64, 7, 2)
        self._add("conv2_3x3_reduce", 64, 64, 1, 1)
        self._add("conv2_3x3", 64, 192, 3, 1)
        for inception in INCEPTIONS:
            for name, unit in inception.units.items():
                self._add(f"inception_{inception.name}_{name}", *unit)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images, whose channels are blue, green and red."""
        maps = _halved(self._unit("conv1_7x7_s2", images))
        maps = _halved(self._unit("conv2_3x3", self._unit("conv2_3x3_reduce", maps)))
        for inception in INCEPTIONS:
            maps = self._inception(inception, maps)
        return maps

    def _add(self, name: str, in_channels: int, out_channels: int, size: int, stride: int) -> None:
        self.add_module(name, nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(out_channels))

    def _unit(self, name: str, maps: Tensor) -> Tensor:
        normalized = self.get_submodule(f"{name}_bn")(self.get_submodule(name)(maps))
        return F.relu(normalized)

    def _inception(self, inception: _Inception, maps: Tensor) -> Tensor:
        def chain(values: Tensor, *names: str) -> Tensor:
            for name in names:
                values = self._unit(f"inception_{inception.name}_{name}", values)
            return values

        middle = chain(maps, "3x3_reduce", "3x3")
        double = chain(maps, "double_3x3_reduce", "double_3x3_1", "double_3x3_2")
        if not inception.single:
            return _joined(middle, double, _halved(maps))
        pool = F.max_pool2d if inception.pool == "max" else F.avg_pool2d
        pooled = pool(maps, kernel_size=3, stride=1, padding=1)
        return torch.cat([chain(maps, "1x1"), middle, double, chain(pooled, "pool_proj")], dim=1)


def _joined(middle: Tensor, double: Tensor, pooled: Tensor) -> Tensor:
    try:
        return torch.cat([middle, double, pooled], dim=1)
    except RuntimeError as error:
        if middle.shape[-2:] == pooled.shape[-2:]:
            raise
        raise Mistake(
            "expected images whose maps have even sides wherever BN-Inception halves them, but got a convolution of "
            f"{tuple(middle.shape[-2:])} cells beside a pooling of {tuple(pooled.shape[-2:])}; use 227 pixels or a "
            "multiple of 32."
        ) from error


def _halved(maps: Tensor) -> Tensor:
    return F.max_pool2d(maps, kernel_size=3, stride=2, ceil_mode=True)
