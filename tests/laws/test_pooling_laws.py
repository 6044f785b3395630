import math

import pytest
import torch
from embedding_strategies import assert_equal, quarters
from hypothesis import given, settings
from references import pooling as reference

from fsl_explain.heads import POOLINGS, GeneralizedMeanPooling, LogSumExpPooling, Pooling
from fsl_explain.heads.softmax_integral import BLOCK, log_mean_exp, softmax_integral
from fsl_explain.traces import weighted_sum

SHARPNESS = [0.001, 0.01, 1.0, 10.0, 100.0, 1000.0]
ONE_A_MAP = {name: pooling for name, pooling in POOLINGS.items() if name != "flatten"}
EVERY = ONE_A_MAP | {f"lse-{r:g}": LogSumExpPooling(r) for r in (0.01, 1000.0)}
EVERY |= {f"gem-{p:g}": GeneralizedMeanPooling(p) for p in (0.1, 1.0, 1000.0)}
SLOW = {
    "gap": (reference.gap, reference.gap_shares),
    "gmp": (reference.gmp, reference.gmp_shares),
    "lse": (lambda A: reference.lse(A, 10.0), lambda A: reference.lse_shares(A, 10.0)),
    "gem": (reference.gem, reference.gem_shares),
}

every_pooling = pytest.mark.parametrize("pooling", EVERY.values(), ids=EVERY)
few = settings(max_examples=10)  # the quadrature takes milliseconds
every_sharpness = pytest.mark.parametrize("r", SHARPNESS)


def demanding_maps() -> torch.Tensor:
    """Channels that are hard to integrate: constant, zero, one hot cell, two levels, a wide and a tiny range."""
    channels = torch.zeros(9, 7, 7, dtype=torch.float64)
    channels[1] = 3.5
    channels[2] = -2.0
    channels[3, 1, 2] = 40.0
    channels[4, :3] = 1.0
    channels[5] = torch.linspace(-50, 50, 49).reshape(7, 7)
    channels[6] = 1 + 1e-6 * torch.arange(49).reshape(7, 7)
    channels[7] = torch.randn(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    channels[8] = -5.0
    channels[8, 0, 0] = -1.0
    return channels


@every_pooling
def test_plays_its_role(pooling):
    assert isinstance(pooling, Pooling)


@every_pooling
@few
@given(maps=quarters(2, 3, 2, 3))
def test_shares_of_the_cells_sum_to_the_pooled_value(pooling, maps):
    assert_equal(pooling.shares(maps).sum(dim=(-2, -1)), pooling(maps))


@every_pooling
@few
@given(maps=quarters(2, 3, 2, 3), weights=quarters(2, 3))
def test_spread_is_the_weighted_sum_of_the_shares(pooling, maps, weights):
    expected = (weights[..., None, None] * pooling.shares(maps)).sum(dim=-3)
    assert_equal(pooling.spread(maps, weights), expected)


@every_pooling
@few
@given(maps=quarters(2, 3, 2, 3), weights=quarters(4, 2, 3))
def test_spread_draws_the_same_maps_for_many_queries(pooling, maps, weights):
    alone = torch.stack([pooling.spread(maps, one) for one in weights])
    assert_equal(pooling.spread(maps, weights), alone)


@pytest.mark.parametrize("name", SLOW)
@few
@given(maps=quarters(3, 2, 2))
def test_equals_the_loop_version(name, maps):
    flat, (pool, shares) = maps.flatten(start_dim=-2).tolist(), SLOW[name]
    assert_equal(POOLINGS[name](maps), torch.tensor(pool(flat), dtype=torch.float64))
    expected = torch.tensor(shares(flat), dtype=torch.float64).reshape(3, 2, 2)
    assert_equal(POOLINGS[name].shares(maps), expected, 1e-9)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "gem-0.1"])
@given(maps=quarters(2, 3, 2, 3))
def test_lies_between_the_mean_and_the_maximum(name, maps):
    """The generalized mean sees nothing below its floor."""
    pooled = EVERY[name](maps)
    seen = maps.clamp(min=EVERY[name].eps) if "gem" in name else maps
    assert (pooled >= seen.mean(dim=(-2, -1)) - 1e-10).all()
    assert (pooled <= seen.amax(dim=(-2, -1)) + 1e-10).all()


LEADING = [
    ((), (4,)),
    ((2, 3), (4, 2, 3)),
    ((2, 3), (4, 1, 3)),
    ((2, 1), (2, 3)),
    ((2, 3), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), ()),
]


@pytest.mark.parametrize(("of_maps", "of_weights"), LEADING, ids=str)
def test_leading_dimensions_of_maps_and_weights_broadcast(of_maps, of_weights):
    generator = torch.Generator().manual_seed(1)
    maps = torch.randn(*of_maps, 5, 3, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(*of_weights, 5, generator=generator, dtype=torch.float64)
    expected = (weights[..., None, None] * maps).sum(dim=-3)
    assert_equal(weighted_sum(maps, weights), expected)
    assert_equal(POOLINGS["gap"].spread(maps, weights), expected / 12)


@every_sharpness
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 3.6e-15), (torch.float32, 1.91e-6)], ids=str)
def test_shares_of_demanding_maps_sum_to_the_pooled_value(r, dtype, tolerance):
    maps = demanding_maps()
    pooling = LogSumExpPooling(r)
    exact, scale = pooling(maps), maps.abs().amax(dim=(-2, -1))
    pooled, total = pooling(maps.to(dtype)), pooling.shares(maps.to(dtype)).sum(dim=(-2, -1))
    assert pooled.dtype == total.dtype == dtype
    assert ((total - pooled).abs() <= tolerance * scale).all()
    assert ((pooled - exact).abs() <= tolerance * scale).all()


def test_log_sum_exp_is_near_the_mean_for_small_and_near_the_maximum_for_large_sharpness():
    maps = demanding_maps()[[4, 7]]
    assert_equal(LogSumExpPooling(1e-4)(maps), maps.mean(dim=(-2, -1)), 1e-3)
    assert_equal(LogSumExpPooling(1e4)(maps), maps.amax(dim=(-2, -1)), 1e-3)


@every_sharpness
def test_equal_cells_of_a_channel_hold_equal_shares(r):
    constant = demanding_maps()[:3]
    assert_equal(LogSumExpPooling(r).shares(constant), constant / 49, 1e-12)


@every_sharpness
def test_a_map_of_one_cell_is_its_own_pooled_value(r):
    maps = torch.tensor([[[2.5]], [[-7.0]]], dtype=torch.float64)
    pooling = LogSumExpPooling(r)
    assert_equal(pooling(maps), maps[:, 0, 0])
    assert_equal(pooling.shares(maps), maps)


def test_channels_of_every_block_are_integrated_each_on_its_own():
    """More channels than fit one block, of ranges that need different numbers of nodes."""
    widths = torch.logspace(-3, 4, BLOCK // 4 + 5, dtype=torch.float64)[:, None]
    exponents = -widths * torch.tensor([0.0, 0.01, 0.3, 1.0], dtype=torch.float64)
    integral = softmax_integral(exponents)
    found = (exponents * integral).sum(dim=-1)
    assert ((found - log_mean_exp(exponents)).abs() <= 16 * torch.finfo(torch.float64).eps * widths[:, 0]).all()
    some = [0, 1000, BLOCK // 4 - 1, BLOCK // 4, len(widths) - 1]
    assert_equal(integral[some], torch.cat([softmax_integral(exponents[[i]]) for i in some]), 1e-13)


def test_log_mean_exp_keeps_its_digits_at_both_ends():
    """log((1 + (n - 1) exp(-x))/n) for tiny x and for an x that leaves one cell alone."""
    tiny = torch.tensor([0.0, -2e-12], dtype=torch.float64)
    assert float(log_mean_exp(tiny)) == pytest.approx(-1e-12, rel=1e-11)
    for cells in (10_001, 20_011, 30_011, 40_009):
        alone = torch.full((cells,), -1000.0, dtype=torch.float64)
        alone[7] = 0
        assert float(log_mean_exp(alone)) == pytest.approx(-math.log(cells), rel=2e-15)


def test_one_channel_that_is_not_finite_leaves_the_others_alone():
    maps = demanding_maps()[5:8].clone()
    expected = LogSumExpPooling().shares(maps)
    maps[1, 0, 0] = math.nan
    found = LogSumExpPooling().shares(maps)
    assert found[1].isnan().all()
    assert_equal(found[[0, 2]], expected[[0, 2]], 1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("p", [1e-3, 3.0, 1e4])
def test_a_generalized_mean_is_safe_for_every_power(p, dtype):
    """log z is the log-sum-exp pooling of log A with sharpness p, whatever the scale of A."""
    maps = (demanding_maps()[5:8].abs() + 0.01) * torch.tensor([1e-3, 1.0, 1e12], dtype=torch.float64)[:, None, None]
    pooled = GeneralizedMeanPooling(p)(maps.to(dtype))
    expected = LogSumExpPooling(p)(maps.log()).exp()
    torch.testing.assert_close(pooled.double(), expected, rtol=100 * torch.finfo(dtype).eps, atol=0)
    shares = GeneralizedMeanPooling(p).shares(maps.to(dtype))
    torch.testing.assert_close(shares.sum(dim=(-2, -1)), pooled, rtol=16 * torch.finfo(dtype).eps, atol=0)


def test_shares_of_a_generalized_mean_follow_the_powers():
    maps = torch.tensor([[[1.0, 2.0], [4.0, -3.0]]], dtype=torch.float64)
    for p in (1.0, 3.0, 20.0):
        shares = GeneralizedMeanPooling(p).shares(maps)[0]
        assert float(shares[0, 1] / shares[0, 0]) == pytest.approx(2**p)
        assert float(shares[1, 0] / shares[0, 1]) == pytest.approx(2**p)
    assert float(GeneralizedMeanPooling(1.0).shares(maps)[0, 1, 1]) == pytest.approx(1e-6 / 4)


def test_a_channel_that_never_fires_holds_the_floor_evenly():
    maps = torch.tensor([[[0.0, -1.0], [-2.0, 0.0]]], dtype=torch.float64)
    pooling = GeneralizedMeanPooling(eps=1e-4)
    assert float(pooling(maps)) == pytest.approx(1e-4)
    assert_equal(pooling.shares(maps), torch.full_like(maps, 1e-4 / 4), 1e-18)
