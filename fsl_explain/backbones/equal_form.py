"""The quickest form of a network that gives the same as the network itself: folded where it is equal, else as it is."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from fsl_explain.backbones.batch_dependence import mixing_parts
from fsl_explain.backbones.capture import activation_of, evaluating
from fsl_explain.backbones.inference_modes import AUTO, EAGER, FOLDED, for_inference
from fsl_explain.backbones.placement import deciding_tensor

EQUAL = 1e-5
"""Of the length of what the network gives; single precision itself loses some millionths of it."""

Form = tuple[str, nn.Module, nn.Module | None]


def in_form(network: nn.Module, layer: nn.Module | None, inference: str, seen: Callable[[], Tensor]) -> Form:
    """Return the name of the form that is used, and a network and its explained layer in it.

    ``auto`` shows both forms what ``seen`` gives: the folded one is used if the layer's maps and all that the network
    returns differ by no more than ``EQUAL`` in length, and the network itself where they do, where nothing can be
    folded, where images of a batch are mixed, and where the comparison fails, which the first images will tell better.

    Raises: as ``for_inference``.
    """
    if inference != AUTO:
        return (inference, *for_inference(network, layer, inference))
    try:
        found = _folded(network, layer, seen)
    except Exception:  # a network may fail in any way, and does so again where its user asks it
        found = None
    return (EAGER, *for_inference(network, layer, EAGER)) if found is None else (FOLDED, *found)


def _folded(
    network: nn.Module, layer: nn.Module | None, seen: Callable[[], Tensor]
) -> tuple[nn.Module, nn.Module | None] | None:
    if mixing_parts(network):
        return None
    folded = for_inference(network, layer, FOLDED)
    if _normalizations(folded[0]) == _normalizations(network):
        return None
    decides = deciding_tensor(network)
    images = seen() if decides is None else seen().to(decides.device, decides.dtype)
    with evaluating(network):
        return folded if _alike(_given(network, layer, images), _given(*folded, images)) else None


def _normalizations(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def _given(network: nn.Module, layer: nn.Module | None, images: Tensor) -> list[Any]:
    """Return the maps of the layer and all that a network returns, piece by piece."""
    given = network(images) if layer is None else activation_of(network, layer, images)
    return list(tree_leaves(given))


def _alike(ones: list[Any], others: list[Any]) -> bool:
    pairs = list(_tensors(ones, others)) if len(ones) == len(others) else []
    return bool(pairs) and all(
        one.shape == other.shape and float((one - other).norm()) <= EQUAL * float(one.norm()) for one, other in pairs
    )


def _tensors(ones: list[Any], others: list[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    for one, other in zip(ones, others, strict=True):
        if isinstance(one, Tensor) and isinstance(other, Tensor) and one.is_floating_point():
            yield one.double(), other.double()
