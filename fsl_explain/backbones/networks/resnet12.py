"""ResNet12, the residual network of few-shot learning, in the layout of MetaOptNet.

Sources: Lee et al., "Meta-Learning with Differentiable Convex Optimization" (MetaOptNet), 2019; DropBlock is Ghiasi,
Lin, Le, "DropBlock: A regularization method for convolutional networks", 2018, as torchvision has it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import DropBlock2d

from episodes.errors import Mistake

WIDTHS = (64, 160, 320, 640)


class ResNet12(nn.Module):
    """Four residual blocks of three 3×3 convolutions, each halving the resolution by max pooling.

    Returns activation maps: 640×5×5 for images of 84×84.

    Args:
        widths: channels of the four blocks.
        negative_slope: of the LeakyReLUs.
        drop_rate: share of activations dropped in training: single ones after the first two blocks, squares of
            ``block_size`` cells (DropBlock) after the last two. DEVIATION: constant, where MetaOptNet raises it from
            0 over the first 40,000 batches by a counter that its checkpoints do not hold.
        block_size: side of the dropped squares in cells, at most that of the map.
        pooled_blocks: how many of the blocks, from the first, end in max pooling; 2 makes 640×21×21.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        negative_slope: float = 0.1,
        drop_rate: float = 0.0,
        block_size: int = 5,
        pooled_blocks: int = 4,
    ) -> None:
        super().__init__()
        if len(widths) != len(WIDTHS):
            raise Mistake(f"expected {len(WIDTHS)} widths, one for each block, but got {list(widths)}; give four.")
        drops = [nn.Dropout(drop_rate), nn.Dropout(drop_rate), *(DropBlock2d(drop_rate, block_size) for _ in range(2))]
        channels = [3, *widths]
        for number, drop in enumerate(drops, start=1):
            pool = nn.MaxPool2d(2) if number <= pooled_blocks else nn.Identity()
            block = _Block(channels[number - 1], channels[number], negative_slope, pool, drop)
            self.add_module(f"layer{number}", nn.Sequential(block))
        _initialize(self)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = images
        for layer in self.children():
            maps = layer(maps)
        return maps


class _Block(nn.Module):
    """Three convolutions beside a 1×1 convolution, then max pooling or none."""

    def __init__(
        self, in_channels: int, out_channels: int, negative_slope: float, pool: nn.Module, drop: nn.Module
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(in_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.conv2, self.bn2 = _convolution(out_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.conv3, self.bn3 = _convolution(out_channels, out_channels), nn.BatchNorm2d(out_channels)
        self.activation = nn.LeakyReLU(negative_slope)
        self.downsample = nn.Sequential(_convolution(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))
        self.pool = pool
        self.drop = drop

    def forward(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch out half_h half_w"]:
        residual = self.activation(self.bn1(self.conv1(maps)))
        residual = self.activation(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        joined: Tensor = self.drop(self.pool(self.activation(residual + self.downsample(maps))))
        return joined


def _convolution(in_channels: int, out_channels: int, size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            with torch.no_grad():
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")
