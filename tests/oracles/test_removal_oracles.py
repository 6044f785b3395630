"""Infidelity of removed regions beside captum's, whose perturbation is then the mask of the removed pixels."""

import warnings

import pytest
import torch
from torch import nn

from fsl_explain import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.metrics import infidelity

pytestmark = pytest.mark.oracles
SIDE, GRID, DRAWS = 12, 4, 20


def test_infidelity_is_captums_over_the_mean_square_of_the_drops():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 1)).double()
    image = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64)
    sets = metrics.random_sets(DRAWS, GRID * GRID, torch.Generator().manual_seed(1))
    replaced = metrics.replacement(image, image, "mean")
    changed = metrics.without_regions(image.expand(DRAWS, -1, -1, -1), sets, replaced.expand(DRAWS, -1, -1, -1))
    gone = sets[:, metrics.region_of_pixels((SIDE, SIDE), GRID)].double()
    with torch.no_grad():
        drops = (network(image) - network(changed)).T
    signs = set()
    drawn = torch.randn(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).double()
    for saliency in (*drawn, *-drawn):
        claimed = metrics.removed_sums(metrics.region_sums(saliency, GRID), sets[None])
        spread = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64)  # the map on one color, whose mask is the set
        spread[:, 0] = saliency
        theirs = infidelity(
            lambda images: network(images)[:, 0],
            lambda inputs: (gone[:, None].expand_as(inputs), changed),
            image,
            spread,
            n_perturb_samples=DRAWS,
            normalize=True,
        )
        ours = metrics.infidelity(claimed, drops) * drops.square().mean()
        agrees = float((claimed * drops).sum()) > 0
        signs.add(agrees)
        # captum takes a negative scale too; here a map of the wrong sign earns nothing
        expected = theirs if agrees else drops.square().mean(dim=1)
        torch.testing.assert_close(ours, expected.detach())
    assert signs == {True, False}
