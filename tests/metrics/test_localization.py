import pytest
import torch
from hypothesis import given
from map_strategies import random_target, targets
from references import localization as reference
from sklearn.metrics import roc_auc_score

from fsl_explain import metrics

METRICS = {
    "pointing_game": (metrics.pointing_game, reference.pointing_game),
    "relevance_rank_accuracy": (metrics.relevance_rank_accuracy, reference.relevance_rank_accuracy),
    "relevance_mass_accuracy": (metrics.relevance_mass_accuracy, reference.relevance_mass_accuracy),
    "proportion": (metrics.proportion, reference.proportion),
    "auc": (metrics.auc, reference.auc),
    "top_1": (lambda s, m: metrics.top_k_intersection(s, m, k=1), lambda s, m: reference.top_k_intersection(s, m, 1)),
    "top_4": (lambda s, m: metrics.top_k_intersection(s, m, k=4), lambda s, m: reference.top_k_intersection(s, m, 4)),
    "top_1000": (metrics.top_k_intersection, lambda s, m: reference.top_k_intersection(s, m, 1000)),
}
every_metric = pytest.mark.parametrize(("fast", "slow"), METRICS.values(), ids=METRICS)


def assert_agree(values, expected, tolerance):
    torch.testing.assert_close(values.double(), expected.double(), rtol=0, atol=tolerance, equal_nan=True)


@every_metric
@given(target=targets())
def test_equals_the_loop_version(fast, slow, target):
    pairs = zip(target.saliency.tolist(), target.mask.tolist(), strict=True)
    expected = torch.tensor([slow(*pair) for pair in pairs], dtype=torch.float64)
    doubles, singles = fast(target.saliency, target.mask), fast(target.saliency.float(), target.mask)
    assert (doubles.dtype, singles.dtype) == (torch.float64, torch.float32)
    assert_agree(doubles, expected, 1e-9)
    assert_agree(singles, expected, 1e-5)


@every_metric
def test_equals_the_loop_version_on_larger_maps(fast, slow):
    target = random_target(batch=2, height=18, width=15)
    expected = torch.tensor([slow(*p) for p in zip(target.saliency.tolist(), target.mask.tolist(), strict=True)])
    assert_agree(fast(target.saliency, target.mask), expected, 1e-7)


@every_metric
def test_single_precision_is_enough_for_a_photograph(fast, slow):
    target = random_target(batch=2, height=224, width=224, dtype=torch.float32)
    assert_agree(fast(target.saliency, target.mask), fast(target.saliency.double(), target.mask), 1e-5)


@every_metric
@given(target=targets())
def test_batch_equals_one_at_a_time(fast, slow, target):
    alone = [fast(target.saliency[i : i + 1], target.mask[i : i + 1]) for i in range(len(target.mask))]
    assert_agree(fast(target.saliency, target.mask), torch.cat(alone), 1e-12)


@every_metric
@given(target=targets())
def test_scaling_a_map_changes_nothing(fast, slow, target):
    assert_agree(fast(target.saliency * 4, target.mask), fast(target.saliency, target.mask), 1e-12)
    assert_agree(fast(target.saliency * 0.3, target.mask), fast(target.saliency, target.mask), 1e-12)


@every_metric
@given(target=targets())
def test_negative_values_are_clipped_not_shifted(fast, slow, target):
    clipped = target.saliency.clamp(min=0)
    assert_agree(fast(target.saliency, target.mask), fast(clipped, target.mask), 1e-12)


@every_metric
def test_inputs_are_left_as_they_were(fast, slow):
    target = random_target(batch=2, height=6, width=7)
    saliency, mask = target.saliency.clone(), target.mask.clone()
    fast(target.saliency, target.mask)
    assert torch.equal(saliency, target.saliency)
    assert torch.equal(mask, target.mask)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "auc"])
def test_a_map_without_information_scores_the_area(name):
    target = random_target(batch=2, height=8, width=10)
    area = target.mask.double().mean(dim=(1, 2))
    assert 0 < area[0] < 1
    assert_agree(METRICS[name][0](torch.full((2, 8, 10), 0.7, dtype=torch.float64), target.mask), area, 1e-12)


def test_a_map_without_information_has_an_auc_of_one_half():
    mask = random_target(batch=2, height=8, width=10).mask
    assert metrics.auc(torch.ones(2, 8, 10), mask).tolist() == [0.5, 0.5]


@every_metric
def test_the_mask_as_its_own_map_scores_one(fast, slow):
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[:, 3:33, 1:39] = True
    assert fast(mask.double(), mask).tolist() == [1.0]
    assert fast(mask.double(), ~mask).tolist() == [0.0]


def undefined_pairs():
    """One batch in which every map or mask but the last is without a value, each for its own reason."""
    saliency, mask = torch.ones(7, 3, 4), torch.zeros(7, 3, 4, dtype=torch.bool)
    saliency[0] = 0
    saliency[1] = -1
    for i, value in enumerate((torch.nan, torch.inf, -torch.inf), start=2):
        saliency[i, 1, 1] = value
    mask[:, :2] = True
    mask[5] = False
    return saliency, mask


@every_metric
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_to_judge_is_nan_never_a_hit(fast, slow, dtype):
    saliency, mask = undefined_pairs()
    values = fast(saliency.to(dtype), mask)
    assert values.isnan().tolist() == [True] * 6 + [False]
    assert slow(saliency[5].tolist(), mask[5].tolist()) != slow(saliency[5].tolist(), mask[5].tolist())


def test_only_auc_needs_something_outside_the_mask():
    saliency, everything = torch.rand(1, 3, 3) + 0.1, torch.ones(1, 3, 3, dtype=torch.bool)
    assert metrics.auc(saliency, everything).isnan().all()
    assert metrics.pointing_game(saliency, everything).item() == 1
    assert metrics.proportion(saliency, everything).item() == 1


@every_metric
def test_an_empty_batch_gives_no_values(fast, slow):
    assert fast(torch.ones(0, 3, 4), torch.ones(0, 3, 4, dtype=torch.bool)).shape == (0,)


@given(target=targets())
def test_proportion_inside_and_outside_sum_to_one(target):
    both = metrics.proportion(target.saliency, target.mask) + metrics.proportion(target.saliency, ~target.mask)
    one_sided = target.mask.flatten(1).all(1) | ~target.mask.flatten(1).any(1)
    defined = (target.saliency.amax((1, 2)) > 0) & ~one_sided
    assert_agree(both, torch.where(defined, 1.0, torch.nan), 1e-12)


@given(target=targets())
def test_proportion_equals_relevance_mass(target):
    mass = metrics.relevance_mass_accuracy(target.saliency, target.mask)
    assert_agree(metrics.proportion(target.saliency, target.mask), mass, 1e-12)


def test_pointing_splits_the_hit_among_tied_maxima():
    saliency = torch.tensor([[[1.0, 1.0, 0.5], [1.0, 0.0, 1.0]]])
    mask = torch.tensor([[[True, False, True], [False, True, False]]])
    assert metrics.pointing_game(saliency, mask).tolist() == [0.25]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_only_equal_values_of_half_precision_are_tied(dtype):
    saliency = torch.tensor([[[1.0, 0.99, 0.95, 1.0]]], dtype=dtype)
    mask = torch.tensor([[[True, False, False, False]]])
    assert float(metrics.pointing_game(saliency, mask)) == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", METRICS)
def test_half_precision_holds_the_pixels_of_a_photograph(name, dtype):
    """A map of 90,000 pixels: its mass and its count of pixels are above the largest number of half precision."""
    saliency, mask = torch.ones(1, 300, 300, dtype=dtype), torch.zeros(1, 300, 300, dtype=torch.bool)
    mask[:, :75] = True
    for maps in (saliency, saliency * (1 + mask)):
        values = METRICS[name][0](maps, mask)
        assert values.dtype == dtype
        assert_agree(values, METRICS[name][0](maps.double(), mask), 1e-2)


@every_metric
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_masks_that_are_not_boolean_are_refused(fast, slow, dtype):
    target = random_target(batch=2, height=6, width=7)
    with pytest.raises(TypeError, match=rf"expected boolean masks, but got {dtype}; say what is inside, such as"):
        fast(target.saliency, target.mask.to(dtype))


def test_top_k_divides_by_k_even_if_the_mask_is_smaller():
    saliency, mask = torch.arange(12.0).reshape(1, 3, 4), torch.zeros(1, 3, 4, dtype=torch.bool)
    mask[0, 2, 3] = True
    assert metrics.top_k_intersection(saliency, mask, k=4).tolist() == [0.25]


@pytest.mark.parametrize("k", [0, -3])
def test_top_k_refuses_fewer_than_one_pixel(k):
    saliency = torch.ones(1, 2, 2)
    with pytest.raises(ValueError, match=rf"needs k of 1 or more, but k is {k}\. Raise k\."):
        metrics.top_k_intersection(saliency, saliency > 0, k=k)


def test_auc_equals_scikit_learn():
    target = random_target(batch=3, height=30, width=20)
    saliency = (target.saliency * 4).round().clamp(min=0)
    pairs = zip(target.mask.flatten(1).numpy(), saliency.flatten(1).numpy(), strict=True)
    expected = torch.tensor([roc_auc_score(inside, scores) for inside, scores in pairs], dtype=torch.float64)
    assert_agree(metrics.auc(saliency, target.mask), expected, 1e-12)
