"""The ResNet12 of Cross Attention Network, which is not MetaOptNet's: strides in the place of max pooling.

Source: Hou et al., "Cross Attention Network for Few-shot Classification", 2019.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake

WIDTHS = (64, 128, 256, 512)


class CanResNet12(nn.Module):
    """A 3×3 convolution and four residual blocks of three, whose second convolution halves the resolution.

    Returns activation maps: 512×6×6 for images of 84×84. ``widths`` are the channels of the four blocks, the first
    also that of the stem.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, negative_slope: float = 0.0) -> None:
        super().__init__()
        if len(widths) != len(WIDTHS):
            raise Mistake(f"expected {len(WIDTHS)} widths, one for each block, but got {list(widths)}; give four.")
        self.conv1: nn.Conv2d = nn.Conv2d(3, widths[0], kernel_size=3, padding=1, bias=False)
        self.bn1: nn.BatchNorm2d = nn.BatchNorm2d(widths[0])
        self.activation: nn.LeakyReLU = nn.LeakyReLU(negative_slope)
        channels = [widths[0], *widths]
        for number in range(1, len(channels)):
            block = _Block(channels[number - 1], channels[number], negative_slope)
            self.add_module(f"layer{number}", nn.Sequential(block))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = images
        for part in self.children():
            maps = part(maps)
        return maps


class _Block(nn.Module):
    """Three convolutions beside a 1×1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, negative_slope: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv3 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.activation = nn.LeakyReLU(negative_slope)

    def forward(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch out half_h half_w"]:
        inner = self.activation(self.bn1(self.conv1(maps)))
        inner = self.activation(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        rectified: Tensor = self.activation(inner + self.downsample(maps))
        return rectified
