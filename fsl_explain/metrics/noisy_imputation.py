"""Remove and debias: removed pixels are filled in from their neighbors, so that no sharp hole gives them away.

A removed pixel becomes the weighted mean of its eight neighbors, those that were removed too included, which is one
sparse linear system for each image; a little noise then hides that the filling is too smooth to be true.

Reference: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", 2022.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import csc_array, csr_array, diags_array
from scipy.sparse.linalg import splu
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.metrics.derived_seed import derived_seed
from fsl_explain.metrics.positive_part import says_something, undefined_unless
from fsl_explain.metrics.removal_curves import RemovalCurve, Score, one_score_each, removal_places

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NOISE = 0.01
SIDE_WEIGHT, CORNER_WEIGHT = 1 / 6, 1 / 12
OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@dataclass(frozen=True)
class Road:
    """The scores with the most, and with the least relevant pixels removed first; NaN where a map says nothing.

    Where the map is right, ``most_relevant_first`` falls early and ``least_relevant_first`` late.
    """

    most_relevant_first: RemovalCurve
    least_relevant_first: RemovalCurve

    @property
    def score(self) -> Float[Tensor, "batch"]:
        """Half of how much more removing the most relevant pixels costs, the mean over the shares. Larger is better."""
        lead = self.least_relevant_first.scores - self.most_relevant_first.scores
        return lead.mean(dim=1) / 2


def road(
    score: Score,
    images: Float[Tensor, "batch color height width"],
    saliency: Float[Tensor, "batch height width"],
    *,
    shares: Sequence[float] = SHARES,
    noise: float = NOISE,
    seed: int = 0,
) -> Road:
    """Return the scores of each image with the given shares of its pixels removed and filled in.

    ``score`` takes preprocessed images and returns one number each. ``noise`` is the standard deviation of what is
    added to filled pixels, in the units of the preprocessed images; it depends on the seed, the share and the place in
    the batch alone. One batch of images is scored at a time.

    Raises:
        ValueError: a share does not lie between 0 and 1, or the score is not one number for each image.
    """
    outside = [share for share in shares if not 0 < share < 1]
    if outside or not shares:
        raise Mistake(f"expected shares of pixels between 0 and 1, but got {list(shares)}; leave some pixels to see.")
    place = removal_places(saliency)
    pixels = place.flatten(1).shape[1]
    defined = says_something(saliency)

    def curve(*, most_first: bool) -> RemovalCurve:
        measured = []
        for share in shares:
            count = min(max(1, round(share * pixels)), pixels - 1)
            kept = place >= count if most_first else place < pixels - count
            generator = torch.Generator().manual_seed(derived_seed("road", seed, share))
            filled = noisy_linear_imputation(images, kept, noise=noise, generator=generator)
            scores = one_score_each(score(filled), len(images))
            measured.append(undefined_unless(defined.to(scores.device), scores))
        return RemovalCurve(torch.tensor(list(shares), dtype=torch.float64), torch.stack(measured, dim=1))

    return Road(curve(most_first=True), curve(most_first=False))


def noisy_linear_imputation(
    images: Float[Tensor, "batch color height width"],
    kept: Bool[Tensor, "batch height width"],
    *,
    noise: float = NOISE,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch color height width"]:
    """Return the images with every pixel that is not kept filled in from its neighbors, plus noise.

    Neighbors at a side weigh 1/6, at a corner 1/12; beyond the border there are none, and the others share their
    weight. Kept pixels are returned as they were. ``generator`` is one of the processor's.

    Raises:
        ValueError: an image keeps no pixel.
    """
    empty = (~kept).all(dim=2).all(dim=1).nonzero().flatten().tolist()
    if empty:
        raise Mistake(f"expected some pixels kept in every image, but image {empty[0]} keeps none; remove fewer.")
    if not len(images):
        return images.clone()
    pairs = zip(images.detach().cpu().double().numpy(), kept.cpu().numpy(), strict=True)
    filled = torch.from_numpy(np.stack([_filled(image, stays) for image, stays in pairs])).to(images)
    drawn = torch.stack([torch.randn(image.shape, generator=generator, dtype=torch.float64) for image in images])
    added = noise * drawn.to(images)
    return torch.where(kept[:, None].to(images.device), images, filled + added)


def _filled(
    image: Float[np.ndarray, "color height width"], kept: Bool[np.ndarray, "height width"]
) -> Float[np.ndarray, "color height width"]:
    unknown, known = np.flatnonzero(~kept), np.flatnonzero(kept)
    weights = _neighbor_weights(*kept.shape)[unknown]
    system = diags_array(weights.sum(axis=1)) - weights[:, unknown]
    flat = image.reshape(len(image), -1).copy()
    if len(unknown):
        factors = splu(csc_array(system), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        flat[:, unknown] = factors.solve(weights[:, known] @ flat[:, known].T).T
    return flat.reshape(image.shape)


@lru_cache(maxsize=2)
def _neighbor_weights(height: int, width: int) -> csr_array:
    """Return the (pixel, pixel) matrix of the weights of neighbors."""
    places = np.arange(height * width).reshape(height, width)
    rows, columns, weights = [], [], []
    for down, right in OFFSETS:
        here = places[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)].ravel()
        rows.append(here)
        columns.append(here + down * width + right)
        weights.append(np.full(len(here), SIDE_WEIGHT if 0 in {down, right} else CORNER_WEIGHT))
    entries = np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(height * width, height * width))
