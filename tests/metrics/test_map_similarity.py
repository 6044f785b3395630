import pytest
import torch
from hypothesis import given
from map_strategies import random_target, targets
from references import perturbation as reference
from scipy.stats import pearsonr, spearmanr

from fsl_explain import metrics

MEASURES = {
    "pearson": (metrics.map_correlation, reference.correlation, pearsonr),
    "spearman": (
        metrics.map_rank_correlation,
        lambda a, b: reference.correlation(reference.ranks(a), reference.ranks(b)),
        spearmanr,
    ),
}
both_measures = pytest.mark.parametrize(("fast", "slow", "scipy"), MEASURES.values(), ids=MEASURES)


def pairs(one, other):
    return list(zip(one.flatten(1).tolist(), other.flatten(1).tolist(), strict=True))


@both_measures
@given(target=targets())
def test_equals_the_loop_version(fast, slow, scipy, target):
    other = target.saliency.roll(1, dims=0)
    expected = torch.tensor([slow(a, b) for a, b in pairs(target.saliency, other)], dtype=torch.float64)
    torch.testing.assert_close(fast(target.saliency, other), expected, rtol=0, atol=1e-9, equal_nan=True)


@both_measures
def test_equals_scipy(fast, slow, scipy):
    one = random_target(3, 9, 7).saliency
    other = (random_target(3, 9, 7).saliency.flip(0, 2) * 4).round() / 4
    expected = torch.tensor([scipy(a, b)[0] for a, b in pairs(one, other)], dtype=torch.float64)
    torch.testing.assert_close(fast(one, other), expected, rtol=0, atol=1e-12)


@both_measures
def test_scale_and_offset_change_nothing_and_the_sign_turns_it(fast, slow, scipy):
    one, other = random_target(2, 6, 6).saliency, random_target(2, 6, 6).saliency.flip(0)
    torch.testing.assert_close(fast(3 * one + 2, other), fast(one, other))
    torch.testing.assert_close(fast(-one, other), -fast(one, other))
    torch.testing.assert_close(fast(one, one), torch.ones(2, dtype=torch.float64))
    assert fast(one.float(), other.float()).dtype == torch.float32


@both_measures
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(fast, slow, scipy, dtype):
    one, other = random_target(2, 6, 6).saliency.to(dtype), random_target(2, 6, 6).saliency.flip(0).to(dtype)
    found = fast(one, other)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), fast(one.double(), other.double()), rtol=0, atol=1e-2)


@both_measures
def test_constant_and_broken_maps_have_no_correlation(fast, slow, scipy):
    one = torch.rand(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    other = one.flip(0).clone()
    one[0], other[1] = 0.1, 7.7
    one[2, 0, 0], other[3, 0, 0] = torch.nan, torch.inf
    assert fast(one, other).isnan().tolist() == [True, True, True, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -1e6])
def test_a_map_that_is_constant_but_for_rounding_is_like_no_other(constant, dtype):
    maps = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    flat = torch.full_like(maps, constant)
    flat[:, 0] = flat[:, 0] * (1 + torch.finfo(dtype).eps)
    assert metrics.map_correlation(maps, flat).isnan().all()
    assert metrics.map_correlation(flat, maps).isnan().all()
    assert not metrics.map_correlation(flat + 1e-3 * (abs(constant) + 1) * maps, maps).isnan().any()
