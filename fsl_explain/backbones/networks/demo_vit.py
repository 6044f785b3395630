"""A small Vision Transformer, torchvision's, for the digit scenes; weights trained on them come with the project."""

from importlib.resources import files
from pathlib import Path

from torch import nn
from torchvision.models import VisionTransformer

SIDE, PATCH = 64, 8


def demo_vit() -> nn.Module:
    """Build the transformer: 4 blocks of 4 heads, 128 channels, a class token and 8×8 patches of images of 64×64.

    It returns the class token behind the last normalization, (batch, 128).
    """
    network: nn.Module = VisionTransformer(
        image_size=SIDE, patch_size=PATCH, num_layers=4, num_heads=4, hidden_dim=128, mlp_dim=384
    )
    network.heads = nn.Identity()
    return network


def trained_on_digit_scenes() -> Path:
    """Return the file with the weights that ``benchmarks/train_demo_vit.py`` trained."""
    return Path(str(files("fsl_explain") / "demo" / "demo-vit-digit-scenes.safetensors"))
