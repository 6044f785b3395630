"""Whether a map depends on what it claims to explain: the network's weights, and the reference it was compared with.

A map that stays the same when the weights are random explains the image and not the network; one that stays the same
when the reference is another explains the image and not the decision. Neither says that a map that changes is right.

References: Adebayo et al., "Sanity Checks for Saliency Maps", 2018 (weights, cascading from the output). The check of
the reference is the same thought for decisions by similarity.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.metrics.derived_seed import derived_seed
from fsl_explain.metrics.map_similarity import map_correlation, map_rank_correlation
from fsl_explain.turns import RANDOM_NUMBERS, alone

Similarity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class WeightRandomization:
    """How alike each map stayed to its own with the trained weights, step by step; smaller is better.

    ``layers`` are those whose weights became random, one at each step. ``similarity`` is that of the map after the step
    to the trained one; 1 is the same map.
    """

    layers: tuple[str, ...]
    similarity: Float[Tensor, "step batch"]


def cascading_weight_randomization(
    maps: Callable[[], Tensor],
    network: nn.Module,
    *,
    similarity: Similarity = map_rank_correlation,
    seed: int = 0,
) -> WeightRandomization:
    """Return how alike the maps stay while the layers become random one after the other, from the output down.

    ``maps`` takes nothing and returns one map for each image, made with ``network``. The network is given back exactly
    as it was, also after an error; the global generators too.

    Raises:
        ValueError: the network has no layer with weights of its own.
    """
    layers = _layers_with_weights(network)[::-1]
    return _randomization(maps, network, [[layer] for layer in layers], layers, similarity, seed)


def weight_randomization(
    maps: Callable[[], Tensor],
    network: nn.Module,
    *,
    similarity: Similarity = map_rank_correlation,
    seed: int = 0,
) -> Float[Tensor, "batch"]:
    """Return how alike the maps are when all weights are random at once. Otherwise as the cascading one.

    Raises:
        ValueError: the network has no layer with weights of its own.
    """
    layers = _layers_with_weights(network)
    return _randomization(maps, network, [layers], ("all",), similarity, seed).similarity[0]


def reference_randomization(
    explain: Callable[[Tensor], Tensor],
    references: Float[Tensor, "batch *reference"],
    others: Float[Tensor, "batch *reference"],
    *,
    similarity: Similarity = map_correlation,
) -> Float[Tensor, "batch"]:
    """Return how alike the map of each query to its reference is to its map to another one. Smaller is better.

    ``explain`` takes one reference, or its features, for each query and returns one map each. 1 is a map that does not
    look at the reference at all. Where both references show the same thing, a good map should not change either: take
    others of another class.
    """
    return similarity(explain(references), explain(others))


@contextmanager
def untouched_weights(network: nn.Module) -> Iterator[None]:
    """Give every parameter and buffer of the network back bit by bit, and the global generators, after the block.

    Other threads that ask for the network wait meanwhile.
    """
    with alone([*network.modules(), RANDOM_NUMBERS]), _restored(network):
        yield


@contextmanager
def _restored(network: nn.Module) -> Iterator[None]:
    tensors = [*network.parameters(), *network.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    devices = sorted({tensor.device.index for tensor in tensors if tensor.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            _restore(tensors, kept)


def _randomization(
    maps: Callable[[], Tensor],
    network: nn.Module,
    steps: Sequence[Sequence[str]],
    names: Sequence[str],
    similarity: Similarity,
    seed: int,
) -> WeightRandomization:
    trained = maps().detach().clone()
    measured = []
    with untouched_weights(network):
        _seed(network, seed)
        for layers in steps:
            for layer in layers:
                _randomize(network.get_submodule(layer))
            measured.append(similarity(trained, maps().detach()))
    return WeightRandomization(tuple(names), torch.stack(measured))


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
    for tensor, values in zip(tensors, kept, strict=True):
        tensor.copy_(values)


def _seed(network: nn.Module, seed: int) -> None:
    """Seed the generators of the devices that the network is on, and no others.

    With the seed itself they would draw the weights of a network that was built with the same seed once more.
    """
    derived = derived_seed("weight randomization", seed)
    torch.default_generator.manual_seed(derived)
    for device in {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}:
        torch.cuda.default_generators[device.index].manual_seed(derived)


def _layers_with_weights(network: nn.Module) -> list[str]:
    layers = [name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))]
    if not layers:
        raise Mistake(
            f"expected a network with weights, but {type(network).__name__} has none; "
            "pass the network that makes the maps."
        )
    return layers


def _randomize(layer: nn.Module) -> None:
    """Draw the weights anew as the layer does when it is built, or else from a normal distribution of their spread."""
    if callable(reset := getattr(layer, "reset_parameters", None)):
        reset()
        return
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            spread = float(parameter.std(correction=0)) or 1.0
            parameter.normal_(float(parameter.mean()), spread)
