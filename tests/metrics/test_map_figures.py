"""Six figures from one sort are those of the six functions, ties and undefined maps included."""

from dataclasses import fields

import jaxtyping
import pytest
import torch
from hypothesis import given
from map_strategies import random_target, targets
from references import localization as reference
from scipy.stats import mannwhitneyu

from fsl_explain import metrics
from fsl_explain.metrics import batching, pixel_ranking
from fsl_explain.metrics.batching import a_few_at_a_time, maps_at_once
from fsl_explain.metrics.gini_index import gini_index

SEVERAL_BLOCKS = 19  # maps, eight at once and three left over
NAMES = [field.name for field in fields(metrics.MapFigures)]


@pytest.fixture
def eight_at_once(monkeypatch):
    monkeypatch.setattr(batching, "PIXELS_AT_ONCE", 8 * 40 * 30)


def alone(name, saliency, mask, k):
    if name == "sparseness":
        return metrics.sparseness(saliency)
    if name == "top_k_intersection":
        return metrics.top_k_intersection(saliency, mask, k=k)
    return getattr(metrics, name)(saliency, mask)


def assert_agree(found, saliency, mask, k, tolerance):
    for name in NAMES:
        expected = alone(name, saliency, mask, k)
        assert getattr(found, name).dtype == saliency.dtype
        torch.testing.assert_close(getattr(found, name), expected, rtol=0, atol=tolerance, equal_nan=True)


@given(target=targets())
def test_equals_the_six_functions(target):
    for saliency in (target.saliency, target.saliency.float()):
        found = metrics.map_figures(saliency, target.mask, k=4)
        assert_agree(found, saliency, target.mask, 4, 1e-12 if saliency.dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_equals_the_six_functions_over_several_blocks(dtype, eight_at_once):
    target = random_target(batch=SEVERAL_BLOCKS, height=40, width=30)
    saliency = target.saliency.to(dtype)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6}.get(dtype, 1e-2)
    found = metrics.map_figures(saliency, target.mask)
    assert found.auc.shape == (SEVERAL_BLOCKS,)
    assert_agree(found, saliency, target.mask, 1000, tolerance)


@given(target=targets())
def test_equals_the_loop_version(target):
    found = metrics.map_figures(target.saliency, target.mask, k=4)
    pairs = list(zip(target.saliency.tolist(), target.mask.tolist(), strict=True))
    for name in NAMES:
        slow = getattr(reference, name)
        extra = {"top_k_intersection": (4,)}.get(name, ())
        expected = [slow(L) if name == "sparseness" else slow(L, inside, *extra) for L, inside in pairs]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(getattr(found, name), expected, rtol=0, atol=1e-9, equal_nan=True)


def test_maps_that_say_nothing_are_nan_and_their_neighbors_are_not():
    saliency, mask = torch.rand(6, 5, 5) + 0.1, torch.zeros(6, 5, 5, dtype=torch.bool)
    mask[:, :2] = True
    saliency[0], saliency[1, 0, 0], saliency[2, 4, 4] = -1, torch.nan, torch.inf
    mask[4] = False
    found = metrics.map_figures(saliency, mask)
    for name in NAMES:
        empty_mask = name != "sparseness"
        assert getattr(found, name).isnan().tolist() == [True, True, True, False, empty_mask, False]


def test_refuses_fewer_than_one_pixel():
    with pytest.raises(ValueError, match=r"needs k of 1 or more, but k is 0\. Raise k\."):
        metrics.map_figures(torch.ones(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool), k=0)


@pytest.mark.parametrize(
    ("masks", "error", "sentence"),
    [
        (
            torch.ones(17, 2, 2, dtype=torch.bool),
            ValueError,
            "expected one mask a map, 20 of them, but got 17; pair them",
        ),
        (
            torch.ones(20, 2, 2, dtype=torch.uint8),
            TypeError,
            r"expected boolean masks, but got torch\.uint8; say what is",
        ),
    ],
    ids=["too few", "not boolean"],
)
def test_masks_that_are_none_of_the_maps_are_refused(masks, error, sentence, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks of annotations are the tests' alone
    with pytest.raises(error, match=sentence):
        metrics.map_figures(torch.ones(20, 2, 2), masks)


def test_an_empty_batch_gives_no_values():
    found = metrics.map_figures(torch.ones(0, 2, 2), torch.ones(0, 2, 2, dtype=torch.bool))
    assert found.auc.shape == found.sparseness.shape == (0,)


def test_maps_and_masks_are_left_as_they_were():
    target = random_target(batch=2, height=6, width=7)
    saliency, mask = target.saliency.clone(), target.mask.clone()
    metrics.map_figures(target.saliency, target.mask)
    assert torch.equal(saliency, target.saliency)
    assert torch.equal(mask, target.mask)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_keep_every_value_and_its_membership(dtype):
    """From the smallest number above zero to the largest there is, and zero of either sign."""
    limits = torch.finfo(dtype)
    values = torch.tensor([0.0, -0.0, limits.tiny / 4, 1e-30, 0.5, 1.0, 2.0, 3.0, 1e30, limits.max, -5.0], dtype=dtype)
    inside = torch.tensor([True, False, True, True, False, True, False, True, True, False, True])
    keys = pixel_ranking.ranking_keys(values[None, None], inside[None, None])
    found = list(zip(pixel_ranking.values_of(keys)[0].tolist(), (keys[0] & 1).bool().tolist(), strict=True))
    assert found == sorted(zip(values.clamp(min=0).abs().tolist(), inside.tolist(), strict=True))


def test_a_map_that_requires_gradients_is_measured_all_the_same():
    target = random_target(batch=2, height=6, width=7)
    found = metrics.map_figures(target.saliency.clone().requires_grad_(), target.mask)
    assert not found.auc.requires_grad
    torch.testing.assert_close(found.auc, metrics.auc(target.saliency, target.mask))


def test_equal_values_of_two_maps_are_not_tied():
    """The largest value of the first map, outside its mask, is the smallest of the second, inside its mask."""
    saliency = torch.tensor([[[0.1, 0.5]], [[0.5, 0.9]]])
    mask = torch.tensor([[[True, False]], [[True, False]]])
    assert metrics.map_figures(saliency, mask).auc.tolist() == metrics.auc(saliency, mask).tolist() == [0, 0]


@pytest.mark.parametrize("name", [*NAMES, "proportion"])
def test_a_large_batch_gets_the_figures_of_its_single_maps(name, eight_at_once):
    target = random_target(batch=SEVERAL_BLOCKS, height=40, width=30)
    together = alone(name, target.saliency, target.mask, 4)
    pairs = zip(target.saliency, target.mask, strict=True)
    one_by_one = torch.cat([alone(name, saliency[None], mask[None], 4) for saliency, mask in pairs])
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-12)
    by_name = {"saliency": target.saliency} | ({} if name == "sparseness" else {"mask": target.mask})
    if name != "top_k_intersection":
        assert torch.equal(getattr(metrics, name)(**by_name), together)


@pytest.mark.parametrize(("side", "expected"), [(224, 8), (112, 32), (2000, 1), (1, 8 * 224 * 224)])
def test_as_many_maps_at_once_as_have_the_pixels_of_eight_photographs(side, expected):
    assert maps_at_once(torch.zeros(2, side, side)) == expected
    assert maps_at_once(torch.zeros(0, 0, 3)) == 8 * 224 * 224


def test_counts_of_large_images_are_summed_without_overflow():
    """Nearly all of 90,000 pixels lie inside: the sum of the counts up to each is about four times 2**30."""
    generator = torch.Generator().manual_seed(0)
    saliency = torch.rand(2, 300, 300, generator=generator)
    mask = torch.rand(2, 300, 300, generator=generator) < 0.98
    found = metrics.map_figures(saliency, mask).auc
    for one, inside, area in zip(saliency.numpy(), mask.numpy(), found.tolist(), strict=True):
        won = mannwhitneyu(one[inside], one[~inside]).statistic
        assert area == pytest.approx(won / (inside.sum() * (~inside).sum()), abs=1e-6)


def test_a_gini_index_first_asked_for_in_inference_mode_can_be_asked_for_again_with_gradients():
    """On a graphics processor a sort keeps gradients."""
    ascending = torch.rand(1, 1517, dtype=torch.float64).sort().values
    with torch.inference_mode():
        expected = gini_index(ascending, ascending.sum(dim=1))
    again = gini_index(ascending.requires_grad_(), ascending.sum(dim=1))
    torch.testing.assert_close(again.detach(), expected)


def test_a_batch_of_masks_of_another_size_is_refused():
    share = a_few_at_a_time(lambda saliency, mask: (saliency * mask).mean(dim=(1, 2)))
    target = random_target(batch=3, height=4, width=4)
    with pytest.raises(ValueError, match=r"expected one mask a map, 3 of them, but got 2; pair them"):
        share(target.saliency, target.mask[:2])
