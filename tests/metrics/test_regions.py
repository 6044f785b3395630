"""Regions of an image, sets of them, and Shapley values over orders of removal."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fsl_explain import metrics
from fsl_explain.registries import REMOVALS


def drawing(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(2, 9), st.integers(9, 17), st.integers(9, 17))
def test_every_pixel_lies_in_one_region_and_regions_differ_by_a_row_at_most(grid, height, width):
    regions = metrics.region_of_pixels((height, width), grid)
    for y in range(height):
        for x in range(width):
            assert int(regions[y, x]) == (y * grid // height) * grid + x * grid // width
    sizes = torch.bincount(regions.flatten(), minlength=grid * grid)
    assert int(sizes.min()) >= (height // grid) * (width // grid)
    assert int(sizes.max()) <= (height // grid + 1) * (width // grid + 1)


def test_region_sums_are_those_of_their_pixels_and_add_up_to_the_map():
    saliency = torch.randn(2, 9, 11, generator=drawing())
    sums, regions = metrics.region_sums(saliency, 4), metrics.region_of_pixels((9, 11), 4)
    for region in range(16):
        torch.testing.assert_close(sums[:, region].float(), saliency[:, regions == region].sum(dim=1))
    torch.testing.assert_close(sums.sum(dim=1).float(), saliency.sum(dim=(1, 2)))


def test_removed_sums_add_the_regions_of_each_set():
    sums = torch.tensor([[1.0, 2, 4, 8]])
    sets = torch.tensor([[[True, False, False, True], [False] * 4, [True] * 4]])
    assert metrics.removed_sums(sums, sets).tolist() == [[9, 0, 15]]


def test_a_grid_finer_than_the_image_is_refused():
    with pytest.raises(ValueError, match=r"grid of 2 to 6 cells a side for images of 6×8, but got 7"):
        metrics.region_of_pixels((6, 8), 7)
    with pytest.raises(ValueError, match=r"regions of a square grid, 49 or 196 say, but got 5"):
        metrics.without_regions(torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, dtype=torch.bool), torch.zeros(1, 3, 8, 8))


def test_random_sets_have_every_size_but_none_and_all():
    sets = metrics.random_sets(4000, 5, drawing())
    sizes = torch.bincount(sets.sum(dim=1), minlength=6)
    assert sizes[0] == sizes[5] == 0
    assert int(sizes[1:5].min()) > 850  # 1,000 of each, 27 the standard deviation
    assert int(sets.sum(dim=0).min()) > 1800
    assert torch.equal(metrics.random_sets(9, 5, drawing(3)), metrics.random_sets(9, 5, drawing(3)))


def test_orders_come_with_their_reverse_and_sets_grow_along_them():
    orders = metrics.random_orders(3, 6, drawing())
    assert orders.sort(dim=1).values.tolist() == [[*range(6)]] * 6
    assert torch.equal(orders[0::2], orders[1::2].flip(1))
    sets = metrics.sets_along(orders)
    for order, along in zip(orders.tolist(), sets, strict=True):
        for step, gone in enumerate(along):
            assert set(gone.nonzero().flatten().tolist()) == set(order[: step + 1])


def game(gone):
    """Lose 1 with region 0, 5 with both 1 and 2, and nothing with region 3."""
    return 1.0 * (0 in gone) + 5.0 * ({1, 2} <= set(gone))


def test_shapley_values_over_all_orders_are_the_values_of_the_game():
    orders = torch.tensor([*permutations(range(4))])[None]
    drops = torch.tensor([[[game(order[: step + 1]) for step in range(4)] for order in orders[0].tolist()]])
    torch.testing.assert_close(metrics.shapley_values(orders, drops), torch.tensor([[1.0, 2.5, 2.5, 0]]))


@given(st.integers(0, 1000))
def test_shapley_values_sum_to_the_drop_of_all_regions(seed):
    orders = metrics.random_orders(2, 9, drawing(seed))[None]
    drops = torch.randn(1, 4, 9, generator=drawing(seed), dtype=torch.float64)
    torch.testing.assert_close(metrics.shapley_values(orders, drops).sum(dim=1), drops[:, :, -1].mean(dim=1))


@pytest.mark.parametrize("how", REMOVALS)
def test_only_the_removed_regions_change(how):
    images, others = torch.rand(2, 2, 3, 14, 14, generator=drawing()).unbind()
    replaced = metrics.replacement(images, others, how)
    assert replaced.shape == images.shape
    gone = torch.zeros(2, 49, dtype=torch.bool)
    gone[0, 8] = gone[1, :] = True
    changed = metrics.without_regions(images, gone, replaced)
    inside = metrics.region_of_pixels((14, 14), 7) == 8
    assert torch.equal(changed[0][:, ~inside], images[0][:, ~inside])
    assert torch.equal(changed[0][:, inside], replaced[0][:, inside])
    assert not torch.equal(changed[0][:, inside], images[0][:, inside])
    assert torch.equal(changed[1], replaced[1])


def test_each_way_of_removing_keeps_what_it_says():
    images, others = torch.rand(2, 1, 3, 40, 40, generator=drawing()).unbind()
    color = images.mean(dim=(2, 3))
    mean, blur = metrics.replacement(images, others, "mean"), metrics.replacement(images, others, "blur")
    torch.testing.assert_close(mean[..., 7, 31], color)
    assert float(blur.var()) < 0.2 * float(images.var())
    torch.testing.assert_close(blur.mean(dim=(2, 3)), color, atol=0.05, rtol=0)
    assert torch.equal(metrics.replacement(images, others, "patch"), others)
    with pytest.raises(LookupError, match=r"blur"):
        metrics.replacement(images, others, "blurr")
