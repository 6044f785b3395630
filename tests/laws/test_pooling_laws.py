import pytest
import torch
from embedding_strategies import assert_equal, quarters
from hypothesis import given, settings
from references import pooling as reference

from fsl_explain.heads import POOLINGS, LogSumExpPooling, Pooling

SHARPNESS = [0.001, 0.01, 1.0, 10.0, 100.0, 1000.0]
EVERY = POOLINGS | {f"lse-{r:g}": LogSumExpPooling(r) for r in (0.01, 1000.0)}
SLOW = {
    "gap": (reference.gap, reference.gap_shares),
    "gmp": (reference.gmp, reference.gmp_shares),
    "lse": (lambda A: reference.lse(A, 10.0), lambda A: reference.lse_shares(A, 10.0)),
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


@every_pooling
@given(maps=quarters(2, 3, 2, 3))
def test_lies_between_the_mean_and_the_maximum(pooling, maps):
    pooled = pooling(maps)
    assert (pooled >= maps.mean(dim=(-2, -1)) - 1e-10).all()
    assert (pooled <= maps.amax(dim=(-2, -1)) + 1e-10).all()


@every_sharpness
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
def test_shares_of_demanding_maps_sum_to_the_pooled_value(r, dtype, tolerance):
    maps = demanding_maps()
    pooling = LogSumExpPooling(r)
    exact, scale = pooling(maps), maps.abs().amax(dim=(-2, -1)).clamp(min=1e-6)
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
