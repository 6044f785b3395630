"""Classification networks of torchvision by name, and the layer whose maps are explained."""

from torch import nn
from torchvision import models

from episodes.errors import Mistake
from episodes.naming import unknown_name

LAST_LAYERS = {
    "resnet": "layer4",
    "resnext": "layer4",
    "wide_resnet": "layer4",
    "regnet": "trunk_output",
    "googlenet": "inception5b",
    "inception_v3": "Mixed_7c",
    "shufflenet": "conv5",
    "mnasnet": "layers",
    "alexnet": "features",
    "convnext": "features",
    "densenet": "features",
    "efficientnet": "features",
    "mobilenet": "features",
    "squeezenet": "features",
    "swin": "permute",  # behind the last normalization, where the maps become channels first
    "vgg": "features",
}


def build(name: str, weights: str | None = None) -> nn.Module:
    """Build a torchvision classification network; ``weights`` as torchvision names them, or None for random ones.

    Raises: ``LookupError`` with the nearest names when torchvision has no such network.
    """
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision network", name, known)
    network: nn.Module = models.get_model(name, weights=weights)
    if name.startswith("densenet"):
        # Its forward pass rectifies the features outside of any layer; as a layer, the maps are those it pools.
        network.get_submodule("features").add_module("relu", nn.ReLU())
    return network


def last_layer(name: str) -> str:
    """Return the name of the last convolutional layer of a torchvision network.

    Raises: ``ValueError`` for networks without one, such as transformers.
    """
    for family, layer in LAST_LAYERS.items():
        if name.startswith(family):
            return layer
    raise Mistake(
        f"expected a convolutional network with a known last layer, but got torchvision:{name}; name it with layer=..."
    )


def head_behind_the_pooling(name: str, network: nn.Module) -> nn.Module | None:
    """Return what a torchvision network does with its pooled maps before its last linear layer, None for nothing.

    ConvNeXt normalizes them; the layer returned shares its parameters, and takes vectors instead of maps.
    """
    if not name.startswith("convnext"):
        return None
    norm = network.get_submodule("classifier.0")
    if not isinstance(norm, nn.LayerNorm):
        raise Mistake(f"expected torchvision:{name} to normalize its pooled maps; use another version of torchvision.")
    channels = norm.normalized_shape[0]
    head = nn.LayerNorm(channels, eps=norm.eps)
    head.weight, head.bias = norm.weight, norm.bias
    return head
