"""Conv4Net: four convolutional blocks, the smallest of FAM's five few-shot backbones.

Source: Vinyals et al., "Matching Networks for One Shot Learning", 2016, whose blocks end in ReLU.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn


class Conv4Net(nn.Module):
    """Four blocks of 3×3 convolution, batch normalization, LeakyReLU 0.1 and 2×2 max pooling.

    Returns activation maps, ``channels`` of them: 64×5×5 for images of 84×84, the sides divided by 16 and rounded
    down. ``negative_slope`` is LeakyReLU's; 0 makes it ReLU, and maps without negative values.
    """

    def __init__(self, channels: int = 64, negative_slope: float = 0.1) -> None:
        super().__init__()
        widths = [3, channels, channels, channels, channels]
        self.blocks: nn.Sequential = nn.Sequential(
            OrderedDict((f"block{i}", _block(widths[i - 1], widths[i], negative_slope)) for i in range(1, len(widths)))
        )

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = self.blocks(images)
        return maps


def _block(in_channels: int, out_channels: int, negative_slope: float) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
            norm=nn.BatchNorm2d(out_channels),
            activation=nn.LeakyReLU(negative_slope),
            pool=nn.MaxPool2d(2),
        )
    )
