"""Evidence for the errata of "What the numbers mean", on the embedded digits and in float64.

python docs/errata.py
"""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
import torch
from torch import Tensor, nn
from worked_example import demo_encoder, pixels

from episodes import DigitScenes
from fsl_explain import Encoder, explain, metrics
from fsl_explain.explainers.methods.fam import contribution_weights, feature_activation_map, project
from fsl_explain.explainers.methods.grad_cam import channel_gradients
from fsl_explain.heads.pooling import weighted_sum
from fsl_explain.similarities import cosine

PAIRS = 100


def pairs_of_scenes(encoder: Encoder) -> tuple[Tensor, Tensor]:
    """Return 100 pairs of scenes that show the same digit."""
    scenes = DigitScenes(part="novel", per_class=2 * PAIRS // 5)
    images = pixels(encoder, scenes, np.arange(len(scenes))).double()
    by_label = images.unflatten(0, (-1, 5))  # labels take turns
    return by_label[0::2].flatten(0, 1), by_label[1::2].flatten(0, 1)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return the Pearson correlation of each pair of maps."""
    centered = [maps.flatten(1) - maps.flatten(1).mean(dim=1, keepdim=True) for maps in (one, other)]
    return torch.cosine_similarity(*centered, dim=1)


def principal_head(encoder: Encoder, dimensions: int) -> nn.Linear:
    """Return a linear head: the principal components of the digits the encoder was trained on."""
    base = DigitScenes(part="base", per_class=10)
    pooled = encoder(pixels(encoder, base, np.arange(len(base))).double()).pooled
    mean = pooled.mean(dim=0)
    components = torch.linalg.svd(pooled - mean, full_matrices=False).Vh[:dimensions]
    head = nn.Linear(pooled.shape[1], dimensions).double()
    head.weight.data, head.bias.data = components, -components @ mean
    return head


def evidence() -> Iterator[str]:
    """Yield one line of figures for each erratum."""
    encoder = demo_encoder()
    queries, supports = pairs_of_scenes(encoder)
    query, support = encoder(queries), encoder(supports)
    head = principal_head(encoder, 16)
    one = torch.ones(len(queries), 1, dtype=torch.bool)
    z, q = head(query.pooled).detach(), head(support.pooled).detach()
    similarity = torch.cosine_similarity(z, q)
    behind = project(contribution_weights(z, q[:, None], one, cosine), head)
    claimed = (query.pooled * behind).sum(dim=1)
    yield (
        f"1  Eq. 18 adds up to {claimed[0]:+.3f} where the similarity is {similarity[0]:+.3f}; over {PAIRS} pairs "
        f"the correlation of the two is {np.corrcoef(claimed, similarity)[0, 1]:+.2f}"
    )

    plain = contribution_weights(query.pooled, support.pooled[:, None], one, cosine)
    others = support.pooled.roll(1, dims=0), q.roll(1, dims=0)  # another digit
    plain_of_other = contribution_weights(query.pooled, others[0][:, None], one, cosine)
    behind_of_other = project(contribution_weights(z, others[1][:, None], one, cosine), head)
    without = correlation(*(feature_activation_map(query.maps, weights) for weights in (plain, plain_of_other)))
    with_head = correlation(*(feature_activation_map(query.maps, weights) for weights in (behind, behind_of_other)))
    exact = correlation(
        *(weighted_sum(query.maps, (r / r.norm(dim=1, keepdim=True)) @ head.weight) for r in (q, others[1]))
    )
    yield (
        f"2  FAM's maps for a reference of the same digit and for one of another correlate by {without.mean():.2f} "
        f"without a head and by {with_head.mean():.2f} with one; the exact maps with one by {exact.mean():.2f}"
    )

    signed = contribution_weights(
        torch.ones(2).double(), torch.tensor([[1.0, -0.9]]).double(), torch.ones(1, dtype=torch.bool), cosine
    )
    yield f"3  Eq. 15 for z = (1, 1) and z' = (1, -0.9) gives ({signed[0]:.0f}, {signed[1]:.0f}), outside (-1, 1)"

    agreeing = (query.pooled < 0) & (support.pooled < 0)
    addends = cosine.contributions(query.pooled, support.pooled)
    painted = torch.where(agreeing, plain * query.pooled, 0).sum(dim=1)
    yield (
        f"4  {100 * agreeing.double().mean():.0f} % of channels are negative in both images: they raise the "
        f"similarity by {torch.where(agreeing, addends, 0).sum(dim=1).mean():+.4f} and lower FAM's map "
        f"(sum over cells {painted.mean() * query.maps.shape[-1] * query.maps.shape[-2]:+.4f})"
    )

    explained = explain(encoder, queries[:20], supports[:1, None], method="exact")
    gradients = channel_gradients(explained.question)
    zero = weighted_sum(explained.question.query.maps, gradients).sum(dim=(-2, -1))
    yield (
        f"5  the cells of a cosine's gradient map sum to {zero.abs().max():.0e} at most; exact cells to the "
        f"similarity, {explained.cells[0].sum():+.3f} in the first pair"
    )

    before = torch.cosine_similarity(query.pooled, support.pooled)
    chosen = np.random.default_rng(0).integers(0, queries.shape[-1], (len(queries), 2))
    masks = torch.ones(len(queries), *queries.shape[-2:], dtype=torch.float64)
    masks[torch.arange(len(queries)), chosen[:, 0], chosen[:, 1]] = 0
    after = torch.cosine_similarity(encoder(metrics.masked_images(queries, masks)).pooled, support.pooled)
    yield (
        f"6  removing one random pixel of {queries.shape[-1]}×{queries.shape[-2]}: increase in confidence "
        f"{float(metrics.increase_in_confidence(before, after)):.0f} %, average drop "
        f"{float(metrics.average_drop(before, after)):.4f} %; an all-ones mask has a drop of "
        f"{float(metrics.average_drop(before, before)):.0f} %"
    )


if __name__ == "__main__":
    for line in evidence():
        print(fill(line, 110, subsequent_indent="   "))
