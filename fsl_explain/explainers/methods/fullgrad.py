"""FullGrad: gradient times input, and gradient times bias of every layer that has one, each drawn where it acts.

Source: Srinivas, Fleuret, "Full-Gradient Representation for Neural Network Visualization", 2019. In a network of
linear layers and ReLUs Δ = ∇ₓΔ·x + Σ_l ∇_{b_l}Δ·b_l for a score Δ that is linear in the embedding. A cosine is not: by
Euler its sum is 0. The map is made of absolute values and adds up to nothing. Notation: ψ(·) = enlarge(rescale(|·|)).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from fsl_explain.devices import precise
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.methods.whole_network import (
    ask_in_parts,
    expect_maps,
    expect_python,
    explained_score,
    seen,
)
from fsl_explain.explainers.normalization import ROUNDING_STEPS, upsample
from fsl_explain.explainers.question import Question

CONVOLUTIONS = (
    *(F.conv1d, F.conv2d, F.conv3d),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
)
PLACES = {F.batch_norm: 4, F.instance_norm: 4, F.group_norm: 3, F.layer_norm: 3, F.linear: 2}
PLACES |= dict.fromkeys(CONVOLUTIONS, 2)
"""Functions with a bias, and its place among their arguments."""
OF_LAST_AXES = (F.linear, F.layer_norm)


@dataclass(frozen=True)
class FullGradients:
    """The parts of Δ, signed: what the pixels and what each bias adds where it acts."""

    pixels: Float[Tensor, "image color height width"]
    biases: tuple[Float[Tensor, "image channel _h _w"], ...]
    elsewhere: Float[Tensor, "image"]  # of biases that act on no grid, such as those of a head


@dataclass(frozen=True)
class _Biased:
    """What a layer returned, before anything overwrote it, and its bias in a shape that fits."""

    outcome: GradientEdge
    bias: Tensor
    of_last_axes: bool


class _Hearing(TorchFunctionMode):
    """Keeps the bias of every layer that runs in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.biased: list[_Biased] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute, and keep the bias and where it acts."""
        given = kwargs or {}
        outcome = func(*args, **given)
        if func in PLACES and isinstance(outcome, Tensor) and outcome.requires_grad:
            bias = _bias(func, args, given)
            if bias is not None:
                last = func in OF_LAST_AXES
                placed = bias if last else bias.reshape(-1, *(1,) * (outcome.dim() - 2))
                self.biased.append(_Biased(get_gradient_edge(outcome), placed.detach(), last))
        return outcome


def full_gradients(question: Question, images: Float[Tensor, "image color height width"]) -> FullGradients:
    """Return the parts of the explained scores of images.

    Raises: ``ValueError`` for a network that runs unseen.
    """
    expect_python(question, "its biases")
    with _Hearing() as hearing:
        score = explained_score(question, seen(question, images))
    edges = [one.outcome for one in hearing.biased]
    found, *slopes = torch.autograd.grad(score, [images, *edges], allow_unused=True)
    parts, elsewhere = [], images.new_zeros(len(images), dtype=torch.float64)
    for one, slope in zip(hearing.biased, slopes, strict=True):
        if slope is None:
            continue
        part = (slope * one.bias).detach()
        if part.dim() == 4:
            parts.append(part.permute(0, 3, 1, 2) if one.of_last_axes else part)
        else:
            elsewhere += precise(part).reshape(len(images), -1).sum(dim=1).to(elsewhere.device)
    return FullGradients(found * images.detach(), tuple(parts), elsewhere)


def rescaled(values: Float[Tensor, "image channel h w"]) -> Float[Tensor, "image channel h w"]:
    """Stretch |values| of each channel to [0, 1] over its cells; of a channel that is even everywhere nothing is left.

    DEVIATION: the official code stretches all channels of a layer together; the paper's ψ is of each channel.
    """
    sizes = values.abs()
    low, high = sizes.amin(dim=(-2, -1), keepdim=True), sizes.amax(dim=(-2, -1), keepdim=True)
    is_even = high - low <= ROUNDING_STEPS * torch.finfo(sizes.dtype).eps * high
    return torch.where(is_even, 0, (sizes - low) / torch.where(is_even, 1, high - low))


def full_gradient_map(parts: FullGradients) -> Float[Tensor, "image height width"]:
    """Return ψ(∇ₓΔ ⊙ x) + Σ_l Σ_c ψ(∇_bΔ ⊙ b), colors summed."""
    height, width = parts.pixels.shape[-2:]
    total = rescaled(parts.pixels).sum(dim=1)
    for one in parts.biases:
        total = total + upsample(rescaled(one.to(total)).sum(dim=1), (height, width))
    return total


def _bias(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the constant that a layer adds; that of a batch normalization with statistics of its own is b − μγ/σ."""
    place = PLACES[func]
    bias: Tensor | None = kwargs["bias"] if "bias" in kwargs else args[place] if len(args) > place else None
    if func is not F.batch_norm:
        return bias
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"weight": None, "training": False, "eps": 1e-5, **dict(zip(names, args, strict=False)), **kwargs}
    mean = given["running_mean"]
    if given["training"] or mean is None:
        return bias
    taken = mean * torch.rsqrt(given["running_var"] + given["eps"])
    taken = taken if given["weight"] is None else taken * given["weight"]
    constant: Tensor = -taken if bias is None else bias - taken
    return constant


def _attribute(question: Question) -> Attribution:
    return ask_in_parts(question, lambda part, images: full_gradient_map(full_gradients(part, images)))


FULLGRAD = Method(_attribute, attribute_supports, saliency, perturbs=True, differentiates=True, expects=expect_maps)
