"""Classification networks of torchvision by name; the embedding is what their last linear layer reads."""

from typing import Any

from torch import nn
from torchvision import models
from torchvision.transforms import _presets

from episodes.naming import unknown_name
from fsl_explain.backbones.families.family import Member
from fsl_explain.backbones.preprocessing import Preprocessing

OPTIONS = ("weights",)
SIDE = 224
SIDES = {"inception_v3": 299}  # others run at 224, whatever size their weights were trained at
OF_MORE_THAN_MEANS = ("alexnet", "squeezenet", "vgg")  # what they make of their maps is no head behind a mean
OF_ONE_SIZE = ("vit_", "maxvit")


def build(name: str, size: int | None, weights: str | None = None) -> Member:
    """Build a torchvision classification network; ``weights`` as torchvision names them, or None for random ones.

    Named weights are fetched by torchvision unless it has them already, and bring the preparation of their images.

    Raises: ``LookupError`` with the nearest names when torchvision has no such network.
    """
    known = models.list_models(module=models)
    if name not in known:
        raise unknown_name("torchvision network", name, known)
    preprocessing = Preprocessing(SIDE) if weights is None else _preprocessing(name, weights)
    fixed = name.startswith(OF_ONE_SIZE)
    side = (size or preprocessing.size) if fixed else SIDES.get(name, SIDE)
    network: nn.Module = models.get_model(name, weights=weights, **_of_one_size(name, side))
    if name.startswith("densenet"):
        # Its forward pass rectifies the features outside of any layer; as a layer, the maps are those it pools.
        network.get_submodule("features").add_module("relu", nn.ReLU())
    words = None if weights is None else f"torchvision weights {weights}"
    pooled = "features" if name.startswith(OF_MORE_THAN_MEANS) else None
    return Member(network, preprocessing, words, side, classifies=True, pooled=pooled)


def _of_one_size(name: str, side: int) -> dict[str, Any]:
    """Return the option by which networks for images of one size are told it."""
    if name.startswith("maxvit"):
        return {"input_size": (side, side)}
    return {"image_size": side} if name.startswith("vit_") else {}


def _preprocessing(name: str, weights: str) -> Preprocessing:
    known = models.get_model_weights(name)
    tag = weights.rpartition(".")[2]
    if tag not in known.__members__:
        raise unknown_name(f"weights of torchvision:{name}", weights, known.__members__)
    made = known[tag].transforms()
    if not isinstance(made, _presets.ImageClassification):
        return Preprocessing(SIDE)
    return Preprocessing(
        made.crop_size[0],
        mean=tuple(made.mean),
        std=tuple(made.std),
        resize=made.resize_size[0],
        interpolation=made.interpolation.value,
    )
