"""Conv64F: the encoder of Relation Network, whose last two blocks keep the resolution.

Source: Sung et al., "Learning to Compare: Relation Network for Few-Shot Learning", 2018.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Conv64F(nn.Module):
    """Four blocks of 3×3 convolution, batch normalization and LeakyReLU, max pooling after the first two alone.

    Returns activation maps: 64×19×19 for images of 84×84. ``padding`` is that of the first two blocks: 0 in the
    published network, 1 makes 64×21×21. Its published weights want ``negative_slope=0``. ``pooled_blocks`` is how many
    of the blocks, from the first, end in max pooling.
    """

    def __init__(
        self, channels: int = 64, negative_slope: float = 0.1, padding: int = 0, pooled_blocks: int = 2
    ) -> None:
        super().__init__()
        pools = [[nn.MaxPool2d(2)] if block < pooled_blocks else [] for block in range(4)]
        self.layer1: nn.Sequential = _block(3, channels, negative_slope, padding, *pools[0])
        self.layer2: nn.Sequential = _block(channels, channels, negative_slope, padding, *pools[1])
        self.layer3: nn.Sequential = _block(channels, channels, negative_slope, 1, *pools[2])
        self.layer4: nn.Sequential = _block(channels, channels, negative_slope, 1, *pools[3])

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(images))))
        return maps


def _block(
    in_channels: int, out_channels: int, negative_slope: float, padding: int, *pooling: nn.Module
) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=padding)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.LeakyReLU(negative_slope), *pooling)
