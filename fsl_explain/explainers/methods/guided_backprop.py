"""Guided backpropagation: the derivative by the pixels, of which each ReLU lets what is positive through.

Sources: Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015; of the product with Grad-CAM
Selvaraju et al., "Grad-CAM", 2017. ReLUs of network and head are seen as functions while they run, whichever class
calls them, those that are cut off above, such as ReLU6, too; of LeakyReLU and smooth activations the rule says nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from episodes.errors import Mistake
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.grad_cam import GRAD_CAM
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.methods.whole_network import (
    ask_in_parts,
    expect_maps,
    expect_python,
    explained_score,
    maps_encoder,
    seen,
)
from fsl_explain.explainers.question import Question

RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, torch._C._nn.relu6)
CUT_OFF = (F.hardtanh, F.hardtanh_)  # a ReLU where its lower end is 0, as ReLU6 is


class _Guiding(TorchFunctionMode):
    """Has every ReLU that runs in this thread let through positive derivatives alone."""

    def __init__(self) -> None:
        super().__init__()
        self.relus = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute; behind a ReLU, have negative derivatives cut off."""
        given = kwargs or {}
        outcome = func(*args, **given)
        if (func in RELUS or (func in CUT_OFF and _lower_end(args, given) == 0)) and outcome.requires_grad:
            outcome.register_hook(lambda gradient: gradient.clamp(min=0))
            self.relus += 1
        return outcome


def guided_gradients(
    question: Question, images: Float[Tensor, "image color height width"]
) -> Float[Tensor, "image color height width"]:
    """Return the guided derivative of the explained score by every pixel and color, signed.

    Raises: ``ValueError`` for a network in which no ReLU runs.
    """
    expect_python(question, "its ReLUs")
    with _Guiding() as guiding:
        score = explained_score(question, seen(question, images))
    if guiding.relus == 0:
        raise Mistake(
            f"guided backpropagation is a rule for ReLU, but none runs in {maps_encoder(question).description}; "
            "use smoothgrad or integrated-gradients."
        )
    (found,) = torch.autograd.grad(score, images)
    return found


def _lower_end(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    return float(kwargs["min_val"] if "min_val" in kwargs else args[1] if len(args) > 1 else -1)


def _strength(question: Question, images: Tensor) -> Tensor:
    """Return Σ |derivative| over the colors of each pixel: the map has no sign."""
    return guided_gradients(question, images).abs().sum(dim=1)


def _attribute(question: Question) -> Attribution:
    return ask_in_parts(question, _strength)


def _attribute_with_grad_cam(question: Question) -> Attribution:
    """Multiply by Grad-CAM at the last maps, enlarged to the image."""
    guided = _attribute(question)
    height, width = guided.cells.shape[-2:]
    return replace(guided, cells=guided.cells * saliency(GRAD_CAM.attribute(question).cells, (height, width)))


GUIDED_BACKPROP = Method(
    _attribute, attribute_supports, saliency, perturbs=True, differentiates=True, expects=expect_maps
)
GUIDED_GRAD_CAM = replace(GUIDED_BACKPROP, attribute=_attribute_with_grad_cam, pools=True)
