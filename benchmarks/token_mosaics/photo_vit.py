"""A toy for photographs: the first blocks of EfficientNet-Lite0, frozen, and a Vision Transformer trained here on top.

``encoder`` is a function for ``--encoder benchmarks/token_mosaics/photo_vit.py:encoder`` and for configurations. What
it returns was trained for half an hour on one core by ``train.py`` beside this file, to repeat Lite0's own embedding;
its figures say something about methods on this toy, and nothing about DINOv2 or CLIP.
"""

from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from fsl_explain import Encoder
from fsl_explain.backbones.networks.efficientnet_lite import published_weights
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.backbones.weights.loading import load_weights

SIDE, GRID, WIDTH = 160, 10, 192
STEM_BLOCKS, STEM_CHANNELS = 11, 112  # those before the last stride of 2
LITE = Preprocessing(SIDE, mean=(0.498,) * 3, std=(0.502,) * 3)
CHECKPOINT = Path("results/photo-vit.safetensors")


def lite0() -> EfficientNet:
    return EfficientNet.from_name("efficientnet-lite0")


class Stem(nn.Module):
    """EfficientNet-Lite0 up to its last stride: 112×10×10 maps for images of 160×160."""

    def __init__(self, network: EfficientNet) -> None:
        super().__init__()
        self.first = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = network._blocks[:STEM_BLOCKS]

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps."""
        maps: Tensor = self.first(images)
        for block in self.blocks:
            maps = block(maps)
        return maps


def photo_vit() -> VisionTransformer:
    """Build the transformer: 6 blocks of 3 heads, 192 channels, a class token and 10×10 patches of the stem's maps.

    It returns the class token behind the last normalization.
    """
    network = VisionTransformer(
        image_size=SIDE, patch_size=SIDE // GRID, num_layers=6, num_heads=3, hidden_dim=WIDTH, mlp_dim=2 * WIDTH
    )
    network.conv_proj = nn.Sequential(Stem(lite0()), nn.Conv2d(STEM_CHANNELS, WIDTH, kernel_size=1))
    network.heads = nn.Identity()
    return network


def tokens_of(network: VisionTransformer, stem_maps: Tensor) -> Tensor:
    """Return all tokens behind the last normalization, the class token first, for maps of the stem."""
    patches = network.conv_proj[1](stem_maps).flatten(2).transpose(1, 2)
    tokens: Tensor = network.encoder(torch.cat([network.class_token.expand(len(patches), -1, -1), patches], dim=1))
    return tokens


class Teacher(nn.Module):
    """EfficientNet-Lite0 with its published weights, which gives what lies behind the stem, and its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.network = lite0()
        load_weights(self.network, published_weights())
        self.stem = Stem(self.network)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the stem's maps and the pooled features of the whole network."""
        maps = self.stem(images)
        last = maps
        for block in self.network._blocks[STEM_BLOCKS:]:
            last = block(last)
        last = self.network._swish(self.network._bn1(self.network._conv_head(last)))
        return maps, last.mean(dim=(-2, -1))


def encoder(readout: str = "class", checkpoint: str | Path = CHECKPOINT) -> Encoder:
    """Return the toy as an encoder with one of the readouts of tokens."""
    network = photo_vit()
    network.load_state_dict(load_file(checkpoint))
    return Encoder.wrap(network.eval(), readout=readout, preprocess=LITE.transform)
