"""RELAX against the official algorithm in loops, with the same masks, and what its masks and its options promise."""

import pytest
import torch
from references import relax as reference
from references.upsampling import nearest
from tiny_encoder import IMAGE, images, random_head, tiny_encoder
from torch import nn

from fsl_explain import Encoder, RelaxOptions, explain, relax, relax_method, saliency
from fsl_explain.explainers.methods.random_masks import drawn_grids, random_masks

STARTING_WEIGHT = 1e-10  # of the official sums, which ours do without


def loop_version(encoder, image, masks):
    """R and U, with one forward pass a mask."""
    h_star = encoder(image[None]).embedding[0].tolist()
    s = [reference.cosine(encoder((image * m)[None]).embedding[0].tolist(), h_star) for m in masks.to(image.dtype)]
    R, U = reference.importance_and_uncertainty(masks.tolist(), s)
    return torch.tensor(R, dtype=torch.float64), torch.tensor(U, dtype=torch.float64)


def masks_of(options, count):
    return random_masks(range(count), IMAGE, options.grid, options.keep, options.seed, options.variant)


@pytest.mark.parametrize("size", [(12, 15), (6, 8), (31, 4)], ids=str)
@pytest.mark.parametrize("grid", [7, 4, 1])
def test_masks_are_upsampled_reflected_and_cut_as_the_official_code_does(grid, size):
    cells, shifts = drawn_grids(range(20), grid, 0.5, 3)
    found = random_masks(range(20), size, grid, 0.5, 3)
    for number in range(20):
        expected = reference.mask(cells[number].tolist(), *shifts[number].tolist(), *size)
        torch.testing.assert_close(found[number], torch.tensor(expected, dtype=torch.float64))


def test_every_shift_occurs_and_cells_are_kept_with_their_probability():
    cells, shifts = drawn_grids(range(3000), 7, 0.3, 0)
    assert set(cells.unique().tolist()) == {0.0, 1.0}
    assert float(cells.mean()) == pytest.approx(0.3, abs=0.01)
    assert cells.mean(dim=0).sub(0.3).abs().max() < 0.05
    for axis in shifts.T:
        assert axis.unique().tolist() == list(range(7))
        assert axis.bincount().min() > 350


def test_masks_of_the_simplified_variant_are_the_nearest_cells():
    cells, _ = drawn_grids(range(5), 3, 0.5, 0)
    found = random_masks(range(5), (7, 8), 3, 0.5, 0, "lafam")
    for number in range(5):
        expected = torch.tensor(nearest(cells[number].tolist(), 7, 8), dtype=torch.float64)
        assert torch.equal(found[number], expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("variant", ["official", "lafam"])
@pytest.mark.parametrize("head", ["none", "linear"])
def test_importance_and_uncertainty_equal_the_loop_version(head, variant, dtype, tolerance):
    encoder, batch = tiny_encoder(random_head(head), dtype=dtype), images(2, seed=1, dtype=dtype)
    options = RelaxOptions(masks=90, grid=5, variant=variant, seed=4, batch_size=7)
    found = relax(encoder, batch, options=options)
    assert found.importance.dtype == found.uncertainty.dtype == torch.float64
    for i in range(2):
        R, U = loop_version(encoder, batch[i], masks_of(options, 90))
        torch.testing.assert_close(found.importance[i], R, rtol=tolerance, atol=0)
        torch.testing.assert_close(found.uncertainty[i], U, rtol=tolerance, atol=STARTING_WEIGHT)
        certain = torch.tensor(reference.u_relax(R.tolist(), U.tolist()), dtype=torch.float64)
        torch.testing.assert_close(found.certain_importance[i], certain, rtol=tolerance, atol=0)
        assert 0 < (found[i].certain_importance == 0).sum() <= IMAGE[0] * IMAGE[1] / 2


def test_pixels_that_no_mask_shows_have_no_importance_and_no_uncertainty():
    options = RelaxOptions(masks=1, variant="lafam", grid=2, seed=1)
    found, shown = relax(tiny_encoder(), images(seed=1), options=options), masks_of(options, 1)[0] > 0
    assert 0 < shown.sum() < shown.numel()
    assert not found.importance[~shown].any()
    assert (found.importance[shown] != 0).all()
    assert found.uncertainty.abs().max() < 1e-20


def test_masks_that_remove_nothing_give_a_constant_map():
    found = relax(tiny_encoder(), images(2, seed=1), options=RelaxOptions(masks=40, keep=1.0))
    torch.testing.assert_close(found.importance, torch.ones(2, *IMAGE, dtype=torch.float64))
    assert found.uncertainty.max() < 1e-20
    assert found.stability.isnan().all()


def test_the_number_of_images_in_a_forward_pass_changes_nothing():
    encoder, batch = tiny_encoder(), images(3, seed=1)
    usual = relax(encoder, batch, options=RelaxOptions(masks=50))
    for size in (1, 2, 5, 6, 1000):
        found = relax(encoder, batch, options=RelaxOptions(masks=50, batch_size=size))
        for name in ("importance", "uncertainty", "stability"):
            torch.testing.assert_close(getattr(found, name), getattr(usual, name))
    alone = relax(encoder, batch[1], options=RelaxOptions(masks=50))
    torch.testing.assert_close(alone.importance, usual.importance[1])
    torch.testing.assert_close(alone.uncertainty, usual[1].uncertainty)
    assert alone.importance.shape == IMAGE
    assert int(alone.masks) == 50


def test_a_mask_depends_on_seed_and_number_alone():
    everything = random_masks(range(40), (12, 9), 7, 0.5, 0)
    assert torch.equal(random_masks(range(13, 21), (12, 9), 7, 0.5, 0), everything[13:21])
    assert not torch.equal(random_masks(range(40), (12, 9), 7, 0.5, 1), everything)
    assert len(everything.flatten(1).unique(dim=0)) == 40


def test_more_masks_begin_with_the_fewer_and_grow_the_uncertainty():
    encoder, image = tiny_encoder(), images(seed=1)
    few, many = (relax(encoder, image, options=RelaxOptions(masks=n)) for n in (30, 60))
    assert (many.uncertainty > few.uncertainty).all()
    assert few.uncertainty.min() >= 0
    assert many.importance.abs().max() <= 1


@pytest.mark.parametrize("masks", [31, 64])
def test_stability_is_the_correlation_of_the_maps_of_even_and_odd_masks(masks):
    encoder, image = tiny_encoder(), images(seed=1)
    shown = masks_of(RelaxOptions(), masks)
    halves = torch.stack([loop_version(encoder, image, shown[half::2])[0].flatten() for half in (0, 1)])
    for size in (1, 3, 32):
        found = relax(encoder, image, options=RelaxOptions(masks=masks, batch_size=size))
        assert float(found.stability) == pytest.approx(float(torch.corrcoef(halves)[0, 1]))


def test_an_image_stops_early_once_it_is_stable_whatever_stands_beside_it():
    encoder, batch = tiny_encoder(), images(3, seed=1)
    found = relax(encoder, batch, options=RelaxOptions(masks=2000, until_stable=0.88, batch_size=30))
    assert len(set(found.masks.tolist())) > 1
    for i, used in enumerate(found.masks.tolist()):
        assert used % 256 == 0 or used == 2000
        plain = relax(encoder, batch[i], options=RelaxOptions(masks=used))
        torch.testing.assert_close(found.importance[i], plain.importance)
        torch.testing.assert_close(found.stability[i], plain.stability)
        assert used == 2000 or float(plain.stability) >= 0.88
        if used > 256:
            before = relax(encoder, batch[i], options=RelaxOptions(masks=(used - 1) // 256 * 256))
            assert float(before.stability) < 0.88


def test_the_simplified_variant_takes_as_many_masks_as_there_are_channels():
    found = relax(tiny_encoder(), images(2, seed=1), options=RelaxOptions(variant="lafam"))
    assert found.masks.tolist() == [4, 4]


def test_the_pixels_that_make_the_embedding_are_important():
    """The left half is red, and the embedding is the mean color beside a constant: only red pixels matter."""
    layer = nn.Conv2d(3, 2, kernel_size=1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 0]])[..., None, None])
        layer.bias.copy_(torch.tensor([0.0, 0.5]))
    image = torch.zeros(3, 28, 28)
    image[0, :, :14] = 1
    found = relax(Encoder.wrap(nn.Sequential(layer), "0"), image, options=RelaxOptions(masks=600))
    assert found.importance[:, :12].min() > found.importance[:, 16:].max()
    assert found.stability > 0.8


def test_methods_by_name_and_by_options_draw_the_same_maps():
    encoder, query, supports = tiny_encoder(random_head("linear")), images(seed=1), images(2, 1, seed=2)
    options = RelaxOptions(masks=30, seed=2)
    found = relax(encoder, query, options=options)
    for certain, name, cells in ((False, "relax", found.importance), (True, "u-relax", found.certain_importance)):
        explanation = explain(encoder, query, supports, method=relax_method(options, certain=certain))
        assert explanation.method == name
        torch.testing.assert_close(explanation.cells, cells)
        rescaled = (cells - cells.min()) / (cells.max() - cells.min())
        torch.testing.assert_close(explanation.saliency, rescaled)
        torch.testing.assert_close(saliency(encoder, query, method=name, options=options), rescaled)
        by_default = saliency(encoder, query[None], method=name)[0]
        torch.testing.assert_close(explain(encoder, query, supports, method=name).saliency, by_default)


def test_a_saliency_has_the_precision_of_its_image():
    encoder, query = tiny_encoder(dtype=torch.float32), images(seed=1, dtype=torch.float32)
    assert saliency(encoder, query, method="relax").dtype == torch.float32
    assert explain(encoder, query, query[None, None], method="relax").saliency.dtype == torch.float32
