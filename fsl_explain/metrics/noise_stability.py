"""How much a map changes when its image hardly does.

References: Alvarez-Melis, Jaakkola, "On the Robustness of Interpretability Methods", 2018 (local Lipschitz estimate);
Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", 2019 (maximum sensitivity).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.metrics.derived_seed import derived_seed

Explain = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stability:
    """How the map of each image answered to noise. Smaller is better, and 0 for a map that does not look at the image.

    ``lipschitz`` is the largest ‖change of the map‖ / ‖noise‖, in units of the map over the image's. ``largest_change``
    is the largest ‖change of the map‖ / ‖map‖, ``mean_change`` the mean of the same. NaN where a map of the image, with
    or without noise, has a NaN or infinite pixel; the latter two also where the map without noise is all zeros.
    """

    lipschitz: Float[Tensor, "batch"]
    largest_change: Float[Tensor, "batch"]
    mean_change: Float[Tensor, "batch"]


def stability(
    explain: Explain,
    images: Float[Tensor, "batch color height width"],
    *,
    radius: float = 0.02,
    samples: int = 10,
    seed: int = 0,
) -> Stability:
    """Return how much the maps of ``explain``, from images to one map each, change under small noise on the images.

    The noise is uniform in [-radius, radius] for every pixel and channel, in the units of the preprocessed images; it
    depends on the seed, the sample, the place in the batch and the size of the images alone. A sampled largest value is
    a lower bound of the true one. One sample is held at a time.

    Raises:
        ValueError: radius is not above 0, or samples is below 1.
    """
    if not radius > 0 or samples < 1:
        raise Mistake(
            f"expected a radius above 0 and at least 1 sample, but got {radius} and {samples}; raise the lower one."
        )
    maps = explain(images).detach().flatten(1)
    length = maps.norm(dim=1)
    lipschitz, largest, total = (torch.zeros_like(length) for _ in range(3))
    for sample in range(samples):
        noise = _uniform(images, radius, derived_seed("stability", seed, sample))
        change = (explain(images + noise).detach().flatten(1) - maps).norm(dim=1)
        change = torch.where(change.isfinite(), change, torch.nan)
        relative = torch.where(length > 0, change / length, torch.nan)
        lipschitz = torch.maximum(lipschitz, change / noise.flatten(1).norm(dim=1).to(change))
        largest = torch.maximum(largest, relative)
        total = total + relative
    return Stability(lipschitz, largest, total / samples)


def _uniform(
    images: Float[Tensor, "batch color height width"], radius: float, seed: int
) -> Float[Tensor, "batch color _ _"]:
    """Draw in [-radius, radius] image by image: the noise of each is the same whatever stands behind it."""
    generator, noise = torch.Generator().manual_seed(seed), torch.empty(images.shape, dtype=torch.float64)
    for one in noise:
        one.uniform_(-radius, radius, generator=generator)
    return noise.to(images)
