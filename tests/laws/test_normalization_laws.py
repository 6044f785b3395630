import pytest
import torch
from embedding_strategies import assert_equal, quarters
from hypothesis import assume, given
from hypothesis import strategies as st
from references import fam, lafam, upsampling

from fsl_explain.explainers.methods.lafam import mean_activation_map
from fsl_explain.explainers.methods.lafam import saliency as lafam_saliency
from fsl_explain.explainers.normalization import min_max, min_max_map, upsample, upsample_sum_kept

SIZES = [(2, 3), (5, 7), (6, 8), (9, 4), (1, 1)]
every_size = pytest.mark.parametrize("size", SIZES, ids=str)


@given(values=quarters(2, 5))
def test_min_max_spans_zero_to_one(values):
    rescaled = min_max(values)
    constant = values.amax(dim=-1) == values.amin(dim=-1)
    assert (rescaled.amax(dim=-1) == 1).all()
    assert torch.equal(rescaled.amin(dim=-1), constant.double())
    assert_equal(rescaled, torch.tensor([fam.min_max(row) for row in values.tolist()], dtype=torch.float64))


@given(values=quarters(2, 5), scale=st.integers(1, 40), shift=st.integers(-40, 40))
def test_min_max_ignores_scale_and_shift(values, scale, shift):
    assert_equal(min_max(scale / 8 * values + shift / 8), min_max(values), 1e-11)


def test_constant_values_become_ones():
    assert torch.equal(min_max(torch.tensor([0.0, 0.0])), torch.ones(2))
    assert torch.equal(
        min_max(torch.tensor([[2.5, 2.5, 2.5], [0.0, 1.0, 2.0]])), torch.tensor([[1, 1, 1], [0, 0.5, 1]])
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_rounding_is_no_picture(dtype):
    """One cell enlarged to odd sizes is constant but for rounding, which must not be stretched to [0, 1]."""
    cells = torch.rand(200, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    enlarged = upsample(1e3 * cells, (29, 31))
    assert (enlarged.amax(dim=(1, 2)) > enlarged.amin(dim=(1, 2))).any()
    assert torch.equal(min_max_map(enlarged), torch.ones_like(enlarged))
    little = min_max(torch.tensor([1.0, 1.0 + 1e-5], dtype=dtype))
    assert torch.equal(little, torch.tensor([0.0, 1.0], dtype=dtype))


def test_what_is_not_a_number_stays_so():
    assert min_max(torch.tensor([[0.0, torch.nan], [1.0, 3.0]])).isnan().tolist() == [[True, True], [False, False]]
    assert min_max(torch.tensor([0.0, torch.inf])).isnan().any()


@given(maps=quarters(2, 2, 3))
def test_a_map_is_rescaled_over_all_its_cells(maps):
    expected = [fam.min_max_map(cells) for cells in maps.tolist()]
    assert_equal(min_max_map(maps), torch.tensor(expected, dtype=torch.float64))


@every_size
@given(cells=quarters(2, 2, 3))
def test_upsampling_equals_the_loop_version(size, cells):
    for mode, slow in (("bilinear", upsampling.bilinear), ("nearest", upsampling.nearest)):
        expected = torch.tensor([slow(one, *size) for one in cells.tolist()], dtype=torch.float64)
        assert_equal(upsample(cells, size, mode), expected)


@every_size
@given(cells=quarters(2, 2, 3))
def test_sum_kept_upsampling_keeps_the_mass(size, cells):
    assert_equal(upsample_sum_kept(cells, size).sum(dim=(-2, -1)), cells.sum(dim=(-2, -1)))


@pytest.mark.parametrize("size", [(2, 3), (5, 7), (6, 8)], ids=str)
@given(cells=quarters(1, 2, 3))
def test_sum_kept_upsampling_equals_the_loop_version(size, cells):
    expected = torch.tensor([upsampling.sum_kept(one, *size) for one in cells.tolist()], dtype=torch.float64)
    assert_equal(upsample_sum_kept(cells, size), expected)


def test_sum_kept_upsampling_keeps_every_cell_in_its_place():
    """A single cell's mass is brightest over that cell, and never negative."""
    cells = torch.zeros(3, 4)
    cells[1, 2] = 1
    enlarged = upsample_sum_kept(cells, (12, 16))
    assert (enlarged >= 0).all()
    assert enlarged[4:8, 8:12].sum() > 0.5
    assert (enlarged > 0).sum() < 12 * 16 / 2
    one_to_one = upsample_sum_kept(cells, (3, 4))
    torch.testing.assert_close(one_to_one, cells)


def test_a_saliency_smaller_than_the_map_keeps_the_mass_too():
    cells = torch.arange(35.0, dtype=torch.float64).reshape(5, 7)
    smaller = upsample_sum_kept(cells, (2, 3))
    assert smaller.shape == (2, 3)
    assert_equal(smaller.sum(), cells.sum())


@given(maps=quarters(3, 2, 3))
def test_the_mean_map_and_its_saliency_equal_the_loop_version(maps):
    cells = mean_activation_map(maps)
    assert_equal(cells, torch.tensor(lafam.mean_map(maps.tolist()), dtype=torch.float64))
    assume(float(cells.max() - cells.min()) > 0.05)
    for mode, slow in (("bilinear", lafam.saliency_bilinear), ("nearest", lafam.saliency_nearest)):
        expected = torch.tensor(slow(maps.tolist(), 5, 7), dtype=torch.float64)
        assert_equal(lafam_saliency(cells, (5, 7), mode), expected, 1e-9)
