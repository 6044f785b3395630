"""Networks by name, with the preprocessing their weights expect."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from episodes.naming import unknown_name
from fsl_explain.backbones import torchvision_models
from fsl_explain.backbones.checkpoint import load_weights, sha256_of
from fsl_explain.backbones.conv4 import Conv4Net
from fsl_explain.backbones.efficientnet_lite import EfficientNetLite0, published_weights

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NamedNetwork:
    """A network, the layer to read (None: it returns its maps itself), and how its images are prepared."""

    network: nn.Module
    layer: str | None
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str  # where the weights come from, for people


@dataclass(frozen=True)
class Recipe:
    """How a named network of ours is built."""

    build: Callable[..., nn.Module]
    size: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    published: Callable[[], Path] | None = None


RECIPES = {
    "conv4net": Recipe(Conv4Net, size=84),
    "efficientnet-lite0": Recipe(
        EfficientNetLite0, size=224, mean=(0.498,) * 3, std=(0.502,) * 3, published=published_weights
    ),
}
NAMES = (*RECIPES, "torchvision:<name>")


def build_named(name: str, checkpoint: Path | None, seed: int = 0, **architecture: Any) -> NamedNetwork:
    """Build a network by name; random weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name.startswith("torchvision:"):
            built = _from_torchvision(name.removeprefix("torchvision:"), seed=seed, **architecture)
        elif name in RECIPES:
            built = _from_recipe(name, RECIPES[name], checkpoint, seed, architecture)
        else:
            raise unknown_name("encoder", name, NAMES)
    if checkpoint is not None:
        load_weights(built.network, checkpoint)
        built = NamedNetwork(
            built.network,
            built.layer,
            built.size,
            built.mean,
            built.std,
            f"weights {checkpoint.name}, sha256 {sha256_of(checkpoint)[:12]}",
        )
    built.network.to(memory_format=torch.channels_last)
    return built


def _from_recipe(
    name: str, recipe: Recipe, checkpoint: Path | None, seed: int, architecture: dict[str, Any]
) -> NamedNetwork:
    options = dict(architecture)
    size = options.pop("size", recipe.size)
    known = list(inspect.signature(recipe.build).parameters)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of {name}", option, ["size", "seed", *known])
    network = recipe.build(**options)
    weights = f"random weights, seed {seed}"
    if checkpoint is None and recipe.published is not None:
        load_published(network, recipe.published())
        weights = "published ImageNet weights"
    return NamedNetwork(network, None, size, recipe.mean, recipe.std, weights)


def load_published(network: nn.Module, path: Path) -> None:
    """Load the weights of a package into the network it wraps."""
    inner = network.get_submodule("network")
    load_weights(inner, path)


def _from_torchvision(
    name: str, seed: int, weights: str | None = None, layer: str | None = None, size: int = 224
) -> NamedNetwork:
    network = torchvision_models.build(name, weights)
    source = f"random weights, seed {seed}" if weights is None else f"torchvision weights {weights}"
    return NamedNetwork(
        network, layer or torchvision_models.last_layer(name), size, IMAGENET_MEAN, IMAGENET_STD, source
    )
