"""SmoothGrad: the derivative of the explained score by the pixels, averaged over copies of the image with noise.

Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017. The mean is that of signed derivatives; the
map is the sum of its absolute values over colors, so that it has no sign.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from episodes.position import position
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.map_gradients import attribute_supports, saliency
from fsl_explain.explainers.methods.whole_network import AT_ONCE, ask_in_parts, expect_maps, gradients
from fsl_explain.explainers.question import Question


@dataclass(frozen=True, kw_only=True)
class SmoothGradOptions:
    """How noisy copies are made. Noise i is a function of (seed, i) alone, and the same for all images of a size.

    ``samples`` is n, the number of copies, ``noise`` σ / (x_max − x_min) of each preprocessed image; 0 is none.

    Raises: ``ValueError`` for numbers that make no copies; ``TypeError`` for a fraction of a copy.
    """

    samples: int = 25
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if position(self.samples, "samples as a whole number") < 1:
            raise Mistake(f"SmoothGrad needs samples of at least 1, but got {self.samples}; raise it.")
        if not 0 <= self.noise < math.inf:
            raise Mistake(f"SmoothGrad needs noise of at least 0 and below infinity, but got {self.noise}; use 0.15.")
        if position(self.seed, "seed as a whole number") < 0:
            raise Mistake(f"SmoothGrad needs a seed of at least 0, but got {self.seed}; raise it.")


def noises(numbers: range, shape: tuple[int, int, int], seed: int) -> Float[Tensor, "sample color height width"]:
    """Return the noises of these numbers, of standard deviation 1 and in float64."""
    drawn = [np.random.default_rng((seed, number)).standard_normal(shape) for number in numbers]
    return torch.from_numpy(np.stack(drawn))


def mean_gradients(
    question: Question, images: Float[Tensor, "image color height width"], options: SmoothGradOptions
) -> Float[Tensor, "image color height width"]:
    """Return M̂ = 1/n Σ_i ∂Δ/∂x at x + σ·noise_i, signed."""
    plain = images.detach()
    spread = options.noise * (plain.amax(dim=(1, 2, 3)) - plain.amin(dim=(1, 2, 3)))
    total, together = torch.zeros_like(plain), max(1, AT_ONCE // len(plain))
    for start in range(0, options.samples, together):
        numbers = range(start, min(start + together, options.samples))
        drawn = noises(numbers, (plain.shape[1], plain.shape[2], plain.shape[3]), options.seed).to(plain)
        noisy = plain + spread[:, None, None, None] * drawn[:, None]
        found = gradients(question, noisy.flatten(0, 1).requires_grad_())
        total += found.reshape(noisy.shape).sum(dim=0)
    return total / options.samples


def smoothgrad_method(options: SmoothGradOptions | None = None) -> Method:
    """Make a method of SmoothGrad with options, ``SmoothGradOptions()`` if None, to be given to ``explain``.

    Its cells are the pixels of the image: the absolute derivative of the score by the preprocessed pixel, averaged over
    noisy copies and summed over colors, so never below 0. The saliency is rescaled to at most 1. It has no
    contributions.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017.
    """
    found = partial(_attribute, options=options or SmoothGradOptions())
    return Method(
        found, attribute_supports, saliency, perturbs=True, differentiates=True, expects=expect_maps, name="smoothgrad"
    )


def _attribute(question: Question, options: SmoothGradOptions) -> Attribution:
    return ask_in_parts(question, lambda part, images: mean_gradients(part, images, options).abs().sum(dim=1))


SMOOTHGRAD = smoothgrad_method()
