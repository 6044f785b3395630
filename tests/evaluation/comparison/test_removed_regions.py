"""Regions removed for all methods at once, against a network whose answer is known, and one image at a time."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from episodes import DigitScenes, prepare
from fsl_explain import Encoder, explain, metrics
from fsl_explain.classifiers import combined
from fsl_explain.engine import Part
from fsl_explain.evaluation.comparison.compared_images import draw_supports
from fsl_explain.evaluation.comparison.decisions import ComparedDecisions
from fsl_explain.evaluation.comparison.judged_maps import Curves, MapWork
from fsl_explain.evaluation.comparison.removed_regions import RegionRemovals, RemovedRegions
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import FIGURES, OF_ALL_REMOVALS
from fsl_explain.evaluation.image_store import ImageStore
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.metrics.derived_seed import derived_seed
from fsl_explain.registries import REMOVALS

SIDE, CLASSES, IMAGES = 14, ("a", "b", "c"), 9


class Counted(nn.Module):
    """A network without a nonlinearity, that counts the images it is asked about and the largest batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 5, 1, bias=False)
        self.images, self.largest = 0, 0

    def forward(self, images):
        self.images += len(images)
        self.largest = max(self.largest, len(images))
        return self.layer(images)


def linear(removal="mean", batch_size=4, grid=7):
    """Decide nine images of mean zero by inner products; the first of each class is its support."""
    encoder = Encoder.wrap(Counted().double(), "layer", tail="ignore")
    pixels = torch.randn(IMAGES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pixels -= pixels.mean(dim=(2, 3), keepdim=True)
    pixels[:3] += torch.eye(3, dtype=torch.float64)[:, :, None, None]
    found = encoder(pixels)
    channels_last = (pixels.permute(0, 2, 3, 1), found.maps.permute(0, 2, 3, 1))
    nothing = torch.zeros(IMAGES, SIDE, SIDE, dtype=torch.bool), torch.zeros(IMAGES, 4)
    store = ImageStore(*channels_last, found.pooled, found.embedding, *nothing, torch.arange(IMAGES))
    by = DecidedBy.of("mean-similarity", "inner-product")
    decisions = ComparedDecisions.of(store, by, CLASSES, torch.arange(3)[:, None], torch.arange(3, IMAGES), 0)
    asked = RemovedRegions(encoder, decisions, RegionRemovals(grid, 20, 2, removal), batch_size)
    encoder.network.images = encoder.network.largest = 0
    return encoder, decisions, asked


def measured(encoder, decisions, asked, method):
    figures = tuple(FIGURES[name] for name in OF_ALL_REMOVALS)
    sampled = torch.ones(len(decisions.queries), dtype=torch.bool)
    work = MapWork(encoder, decisions, METHODS, figures, sampled, Curves(2, "mean", 0.2), asked)
    return work(Part(method, {"method": method, "places": [*range(len(decisions.queries))]}))


@pytest.mark.parametrize("grid", [2, 7, 14])
def test_the_contrast_of_a_linear_network_tells_every_drop(grid):
    for name, values in measured(*linear(grid=grid), "contrast").items():
        best = 0.0 if name == "infidelity" else 1.0
        torch.testing.assert_close(values, torch.full_like(values, best), atol=1e-6, rtol=0, msg=name)


def test_trivial_maps_do_not():
    for method in ("random-blurred", "centered-gaussian"):
        found = measured(*linear(), method)
        assert float(found["removal_correlation"].abs().max()) < 0.9
        assert float(found["infidelity"].min()) > 0.2
    ones = measured(*linear(), "all-ones")
    assert bool(ones["removal_partial_correlation"].isnan().all())
    assert bool(ones["single_removal_correlation"].isnan().all())
    assert bool(ones["shapley_correlation"].isnan().all())


def test_all_methods_share_the_passes_and_no_batch_is_larger_than_asked():
    encoder, decisions, asked = linear()
    first = measured(encoder, decisions, asked, "contrast")
    network = encoder.network
    assert network.images == len(decisions.queries) * sum(asked.removals.passes.values())
    assert network.largest == 4
    before = network.images
    for method in ("exact", "lafam", "all-ones"):
        measured(encoder, decisions, asked, method)
    assert network.images == before
    again = measured(*linear(batch_size=64), "contrast")
    for name, values in first.items():
        torch.testing.assert_close(again[name], values)


def test_a_query_has_its_own_removals_whatever_is_asked_beside_it():
    _, decisions, asked = linear()
    weights = torch.tensor([1.0, -1, 0]).double().expand(len(decisions.queries), -1)
    every, some = torch.arange(len(decisions.queries)), torch.tensor([4, 1])
    together = asked.random(every, weights)
    alone = linear()[2].random(some, weights[some])
    assert torch.equal(together.sets[some], alone.sets)
    torch.testing.assert_close(together.drops[some], alone.drops)
    assert not torch.equal(together.sets[0], together.sets[1])


@pytest.mark.parametrize("removal", REMOVALS)
def test_drops_are_those_of_images_changed_pixel_by_pixel(removal):
    encoder, decisions, asked = linear(removal)
    weights = torch.tensor([0.5, 1, -1.5]).double().expand(len(decisions.queries), -1)
    found = asked.random(torch.arange(len(decisions.queries)), weights)
    place, draw = 2, 5
    row = int(decisions.queries[place])
    image = decisions.store.images(torch.tensor([row]))
    other = decisions.store.images(decisions.queries[asked._others(torch.tensor([place]))])
    assert removal != "patch" or not torch.equal(image, other)
    replaced, changed = metrics.replacement(image, other, removal), image.clone()
    for y in range(SIDE):
        for x in range(SIDE):
            if found.sets[place, draw, (y // 2) * 7 + x // 2]:
                changed[..., y, x] = replaced[..., y, x]
    scores = [decisions.scores_of(encoder(one).embedding.double()) for one in (image, changed)]
    whole, left = (float(combined(weights[:1], one)) for one in scores)
    assert float(found.drops[place, draw]) == pytest.approx(whole - left)


def test_the_comparison_measures_the_lead_of_explained_images():
    dataset, encoder = DigitScenes(part="novel", per_class=4, size=32), Encoder.named("conv4net", channels=6, size=32)
    removals = RegionRemovals(4, 12, removal="mean", seed=5)
    figures = ["removal_correlation", "removal_rank_correlation"]
    found = compare_maps(
        encoder, dataset, methods=["contrast"], figures=figures, shots=2, sample=3, removals=removals, batch_size=2
    )
    rows = draw_supports(dataset, 2)
    supports = torch.stack(
        [torch.stack([prepare(dataset[int(i)], encoder.transform).pixels for i in row]) for row in rows]
    )
    column = int(found.sampled.nonzero()[1])
    index = int(found.queries[column])
    image = prepare(dataset[index], encoder.transform).pixels
    whole = explain(encoder, image, supports, method="contrast", rule="prototype")
    asked = {
        "method": "contrast",
        "rule": "prototype",
        "target": whole.decision.label,
        "against": int(whole.against.argmax()),
    }
    sets = metrics.random_sets(12, 16, torch.Generator().manual_seed(derived_seed("removals", 5, index)))
    claimed, drops = [], []
    for gone in sets.reshape(12, 4, 4):
        mask = gone.repeat_interleave(8, 0).repeat_interleave(8, 1)
        changed = torch.where(mask, image.mean(dim=(1, 2), keepdim=True), image)
        claimed.append(float(whole.saliency[mask].sum()))
        drops.append(float(whole.score - explain(encoder, changed, supports, **asked).score))
    expected = stats.pearsonr(claimed, drops).statistic, stats.spearmanr(claimed, drops).statistic
    place = found.methods.index("contrast")
    measured_here = [float(found.figures[name][place, column]) for name in figures]
    np.testing.assert_allclose(measured_here, expected, atol=1e-4)
    assert bool(found.figures[figures[0]][:, ~found.sampled].isnan().all())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"grid": 1}, r"grid of at least 2"),
        ({"draws": 2}, r"draws of at least 3"),
        ({"pairs": 0}, r"pairs of at least 1"),
        ({"removal": "blurr"}, r"blur"),
    ],
)
def test_removals_that_compare_nothing_are_refused(wrong, match):
    with pytest.raises((ValueError, LookupError), match=match):
        RegionRemovals(**wrong)
