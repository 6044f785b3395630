"""torchvision's residual networks without pooling and classifier, for few-shot learning and self-supervision.

Their parameters keep torchvision's names, which NPID, MoCo, SimCLR and SwAV share.
"""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn
from torchvision import models

from episodes.errors import Mistake

STEMS = ("7x7", "3x3")
CLASSES = 1000
AFTER_THE_MAPS = ("avgpool", "fc")


class ResNetTrunk(nn.Sequential):
    """The parts of a residual network up to its activation maps, in order."""


def resnet18(negative_slope: float = 0.1, stem: str = "7x7") -> ResNetTrunk:
    """Build a ResNet18 that returns activation maps, 512×3×3 for images of 84×84.

    The stem ``7x7`` is that of ImageNet, ``3x3`` that of small images, which keeps the resolution and leaves the max
    pooling out: 512×11×11.

    Raises: ``ValueError`` for another stem.
    """
    if stem not in STEMS:
        raise Mistake(f"expected a stem of {' or '.join(STEMS)}, but got {stem!r}; choose one of them.")
    trunk = _trunk(models.resnet18(weights=None), negative_slope)
    if stem == "3x3":
        trunk.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        nn.init.kaiming_normal_(trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
        trunk.maxpool = nn.Identity()
    return trunk


def resnet50(negative_slope: float = 0.0) -> ResNetTrunk:
    """Build a ResNet50 that returns activation maps, 2048×7×7 for images of 224×224."""
    return _trunk(models.resnet50(weights=None), negative_slope)


class ResNetClassifier(nn.Module):
    """A ResNet50 that returns activation maps, and knows the class logits that its classifier makes of them."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        whole = models.resnet50(weights=None, num_classes=classes)
        for name, part in _trunk(whole, 0.0).named_children():
            self.add_module(name, part)
        self.fc: nn.Module = whole.fc

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel h w"]:
        """Return the activation maps of a batch of images."""
        maps: Tensor = images
        for name, part in self.named_children():
            if name not in AFTER_THE_MAPS:
                maps = part(maps)
        return maps

    def class_logits(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch class"]:
        """Return the logits of the classes for activation maps."""
        logits: Tensor = self.fc(maps.mean(dim=(-2, -1)))
        return logits


def _trunk(network: nn.Module, negative_slope: float) -> ResNetTrunk:
    trunk = ResNetTrunk(OrderedDict((n, part) for n, part in network.named_children() if n not in AFTER_THE_MAPS))
    for module in list(trunk.modules()) if negative_slope else []:
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.LeakyReLU(negative_slope, inplace=True))
    return trunk
