"""Class activation maps of a classifier's own logit, for an encoder wrapped round the whole classifier.

The gradient goes from the logit to the explained layer and no further, and reaches no parameter: it works for frozen
networks and in inference mode, and costs little over the forward pass.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.capture import evaluating, leaf_activations, the_activation
from fsl_explain.backbones.wrappers import on_one_device, without_compilation
from fsl_explain.devices import at_hand
from fsl_explain.encoder import Encoder, in_full_precision
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import pixels_of
from fsl_explain.explainers.methods.cam_formulas import FORMULAS
from fsl_explain.explainers.methods.map_gradients import ActivationMap, attribute_supports
from fsl_explain.explainers.methods.map_gradients import saliency as scaled
from fsl_explain.explainers.question import Question


@runtime_checkable
class ClassifiesMaps(Protocol):
    """A network that returns activation maps and knows what its classifier makes of them."""

    def class_logits(self, maps: Float[Tensor, "batch channel h w"]) -> Float[Tensor, "batch class"]:
        """Return one logit for each class."""
        ...


def class_logit_map(
    encoder: Encoder,
    images: Float[Tensor, "batch color height width"],
    method: str = "grad-cam",
    target: int | None = None,
) -> ActivationMap:
    """Return the activation map of one class logit of each image, before its ReLU.

    ``target`` is the index of the class, None for the one with the largest logit.

    Raises: ``LookupError`` for an unknown method; ``ValueError`` for an encoder without class logits, or a target
    that is none of its classes.
    """
    if method not in FORMULAS:
        raise unknown_name("method for a class logit", method, FORMULAS)
    if encoder.scales is not None:
        raise Mistake(
            f"a class logit is of one scale, but {encoder.description} sees each image more than once; use the encoder "
            "without scales."
        )
    with torch.inference_mode(False), evaluating(encoder.network):
        leaf, found, in_order = encoder.run(partial(_maps_and_logits, encoder), images)
        logits = _checked(found, encoder)
        gradients = _gradients(logits, _targets(logits, target, encoder), leaf)
        return FORMULAS[method](
            *(in_full_precision(at_hand(in_order(values))) for values in (leaf.detach(), gradients))
        )


def saliency(
    encoder: Encoder,
    images: Float[Tensor, "batch color height width"],
    method: str = "grad-cam",
    target: int | None = None,
    interpolation: str = "bilinear",
) -> Float[Tensor, "batch height width"]:
    """Return where the maps speak for a class, in [0, 1] and of the images' size; see ``class_logit_map``."""
    cells = class_logit_map(encoder, images, method, target).cells
    return scaled(cells, (images.shape[-2], images.shape[-1]), interpolation)


def _maps_and_logits(
    encoder: Encoder, images: Float[Tensor, "batch color height width"]
) -> tuple[Tensor, object, Callable[[Tensor], Tensor]]:
    """Return the maps as leaves of a graph that ends in the logits, and what brings both in the order of maps."""
    if encoder.unfilled:
        raise Mistake(
            f"expected a classifier with weights, but the checkpoint of {encoder.description} holds none for "
            f"{encoder.unfilled[0]}; use a checkpoint with this classifier, or explain() with supports."
        )
    in_order = partial(encoder.reading.in_order, images=images)
    if encoder.layer is not None:
        with leaf_activations(encoder.layer) as leaves, without_compilation(encoder.network):
            logits = on_one_device(encoder.network)(images)
        leaf = the_activation(leaves, encoder.layer)
        in_order(leaf)
        return leaf, logits, in_order
    expect_classifier(encoder)
    network: Any = encoder.network
    maps = in_order(network(images)).detach().requires_grad_()
    with torch.enable_grad():
        return maps, network.class_logits(maps), lambda values: values


def expect_classifier(encoder: Encoder) -> None:
    """Refuse an encoder whose maps lead to no logits. Raises: ``ValueError``."""
    if encoder.layer is None and not isinstance(encoder.network, ClassifiesMaps):
        raise Mistake(
            f"expected an encoder wrapped round a classifier, but {encoder.description} returns its maps and has no "
            "class logits; use Encoder.wrap(classifier, layer), or explain() with supports."
        )


def _attribute(question: Question) -> Attribution:
    pixels = pixels_of(question)
    found = class_logit_map(pixels.encoder, pixels.images)
    return Attribution(found.channels.double(), found.cells.clamp(min=0), found.cells.new_zeros(question.target.shape))


def _checked(logits: object, encoder: Encoder) -> Float[Tensor, "batch class"]:
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        got = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise Mistake(
            f"expected class logits of shape (batch, class) from {encoder.description}, but got {got}; "
            "wrap a classifier that returns its logits."
        )
    return logits


def _targets(logits: Float[Tensor, "batch class"], target: int | None, encoder: Encoder) -> Int[Tensor, "batch"]:
    if target is None:
        return logits.argmax(dim=-1)
    if not 0 <= target < logits.shape[1]:
        raise Mistake(
            f"expected a target from 0 to {logits.shape[1] - 1}, the classes of {encoder.description}, "
            f"but got {target}; choose one of them."
        )
    return torch.full((len(logits),), target, device=logits.device)


def _gradients(logits: Tensor, target: Int[Tensor, "batch"], maps: Tensor) -> Tensor:
    with torch.enable_grad():
        score = logits.gather(1, target[:, None]).sum()
    gradients = torch.autograd.grad(score, maps, allow_unused=True)[0] if score.requires_grad else None
    if gradients is None:
        raise Mistake(
            "expected class logits that depend on the explained layer, but no gradient comes back to it; "
            "choose a layer that the classifier reads, of a network that runs without torch.no_grad of its own."
        )
    return gradients


CLASS_LOGIT = Method(
    _attribute, attribute_supports, scaled, uses_supports=False, name="grad-cam-logit", expects=expect_classifier
)
"""Grad-CAM of the predicted class's logit, as LaFAM compares with it: it knows neither supports nor decision."""
