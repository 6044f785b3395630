"""WRN-28-10, the wide residual network with activations before its convolutions.

Source: Zagoruyko, Komodakis, "Wide Residual Networks", 2016; parameter names as few-shot releases have them.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake

STEM = 16


class WideResNet(nn.Module):
    """Three groups of residual blocks, the last two halving the resolution.

    Returns activation maps: 640×21×21 for images of 84×84.

    Args:
        depth: number of convolutions on the longest way, 6n + 4 with n blocks in a group.
        widen_factor: the groups have 16, 32 and 64 times as many channels.
        negative_slope: of the LeakyReLUs.
        drop_rate: share of activations dropped in training between the convolutions of a block.
    """

    def __init__(
        self, depth: int = 28, widen_factor: int = 10, negative_slope: float = 0.1, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise Mistake(f"expected a depth of 6n + 4, such as 16 or 28, but got {depth}; choose one of those.")
        blocks = (depth - 4) // 6
        channels = [STEM * widen_factor * factor for factor in (1, 2, 4)]
        self.conv1: nn.Conv2d = _convolution(3, STEM)
        self.block1: nn.Sequential = _group(blocks, STEM, channels[0], 1, negative_slope, drop_rate)
        self.block2: nn.Sequential = _group(blocks, channels[0], channels[1], 2, negative_slope, drop_rate)
        self.block3: nn.Sequential = _group(blocks, channels[1], channels[2], 2, negative_slope, drop_rate)
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(channels[2])
        self.activation: nn.LeakyReLU = nn.LeakyReLU(negative_slope)
        _initialize(self)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps = self.block3(self.block2(self.block1(self.conv1(images))))
        rectified: Tensor = self.activation(self.bn1(maps))
        return rectified


class _Block(nn.Module):
    """Two convolutions, each after batch normalization and activation.

    Where the number of channels changes, the shortcut too begins with the first activation, and is a convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, negative_slope: float, drop_rate: float
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = _convolution(in_channels, out_channels, stride=stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = _convolution(out_channels, out_channels)
        self.activation = nn.LeakyReLU(negative_slope)
        self.dropout = nn.Dropout(drop_rate)
        same = in_channels == out_channels
        self.convShortcut = None if same else _convolution(in_channels, out_channels, 1, stride)

    def forward(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch out out_h out_w"]:
        activated = self.activation(self.bn1(maps))
        residual = self.dropout(self.activation(self.bn2(self.conv1(activated))))
        shortcut = maps if self.convShortcut is None else self.convShortcut(activated)
        joined: Tensor = shortcut + self.conv2(residual)
        return joined


def _group(
    blocks: int, in_channels: int, out_channels: int, stride: int, negative_slope: float, drop_rate: float
) -> nn.Sequential:
    first = _Block(in_channels, out_channels, stride, negative_slope, drop_rate)
    others = (_Block(out_channels, out_channels, 1, negative_slope, drop_rate) for _ in range(blocks - 1))
    return nn.Sequential(OrderedDict(layer=nn.Sequential(first, *others)))


def _convolution(in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False)


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
