import pytest
import torch
from hypothesis import given
from map_strategies import targets
from references import faithfulness as reference
from torchvision.transforms.v2.functional import gaussian_blur

from fsl_explain.metrics import masked_images, masks_from_saliency, masks_from_signed_saliency, removed_pixels


def images(batch=2, height=12, width=9, dtype=torch.float32):
    return torch.randn(batch, 3, height, width, dtype=dtype, generator=torch.Generator().manual_seed(0))


@given(target=targets())
def test_masks_equal_the_loop_version(target):
    saliency = target.saliency * torch.tensor([1.0, 2.0, 0.5])[:, None, None]
    expected = torch.tensor([reference.mask(L) for L in saliency.tolist()], dtype=torch.float64)
    torch.testing.assert_close(masks_from_saliency(saliency), expected, rtol=0, atol=1e-12)


@given(target=targets())
def test_masks_lie_in_the_unit_interval_and_keep_the_ranking(target):
    for masks in (masks_from_saliency(target.saliency * 3), masks_from_signed_saliency(target.saliency)):
        assert masks.min() >= 0
        assert masks.max() <= 1
        assert torch.equal(masks == 0, target.saliency <= 0)


def test_a_map_within_the_unit_interval_is_its_own_mask_unless_it_is_a_signed_one():
    saliency = torch.tensor([[[0.0, 0.25, 0.5]]])
    assert torch.equal(masks_from_saliency(saliency), saliency)
    assert torch.equal(masks_from_signed_saliency(saliency), saliency * 2)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("masks_of", [masks_from_saliency, masks_from_signed_saliency])
def test_a_broken_map_gives_no_mask(masks_of, broken):
    saliency = torch.full((2, 3, 3), 0.5)
    saliency[0, 1, 1] = broken
    masks = masks_of(saliency)
    assert masks[0].isnan().all()
    assert not masks[1].isnan().any()


def test_a_map_without_a_positive_pixel_removes_everything():
    assert masks_from_saliency(torch.tensor([[[0.0, -1.0]]])).tolist() == [[[0, 0]]]
    assert masks_from_saliency(torch.zeros(1, 1, 2)).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("how", ["mean", "black", "blur"])
def test_ones_keep_the_image_and_zeros_give_what_is_removed(how):
    black = torch.tensor([-2.1, -2.0, -1.8])[:, None, None]
    kept, removed = images(), removed_pixels(images(), how, black=black)
    everything = torch.as_tensor(removed).expand_as(kept)
    torch.testing.assert_close(masked_images(kept, torch.ones(2, 12, 9), removed), kept)
    torch.testing.assert_close(masked_images(kept, torch.zeros(2, 12, 9), removed), everything)
    torch.testing.assert_close(
        masked_images(kept, torch.full((2, 12, 9), 0.25), removed), 0.25 * kept + 0.75 * everything
    )


def test_removed_pixels_become_a_given_value():
    kept = images()
    torch.testing.assert_close(masked_images(kept, torch.full((2, 12, 9), 0.5), 3.0), kept / 2 + 1.5)


def test_the_mask_of_an_image_is_its_own():
    masks = torch.zeros(2, 12, 9)
    masks[0, 3, 4] = 1
    masked = masked_images(images(), masks)
    assert torch.equal(masked[0, :, 3, 4], images()[0, :, 3, 4])
    assert masked.count_nonzero() == 3


def test_mean_and_black_are_the_values_of_the_normalized_image():
    black = torch.tensor([-2.1, -2.0, -1.8])[:, None, None]
    assert removed_pixels(images(), "mean") == 0
    assert removed_pixels(images(), "black", black=black) is black


@pytest.mark.parametrize(("height", "width", "kernel", "sigma"), [(40, 30, 13, 2.0), (20, 60, 19, 3.0)])
def test_blur_is_torchvisions_square_gaussian(height, width, kernel, sigma):
    photograph = images(height=height, width=width, dtype=torch.float64)
    expected = gaussian_blur(photograph, [kernel, kernel], [sigma, sigma])
    torch.testing.assert_close(removed_pixels(photograph, "blur"), expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 50), (300, 1)])
def test_blur_leaves_flat_color_alone_even_in_narrow_images(height, width):
    flat = torch.full((1, 3, height, width), 0.7, dtype=torch.float64)
    torch.testing.assert_close(removed_pixels(flat, "blur"), flat)


def test_black_has_to_be_known():
    with pytest.raises(
        ValueError, match=r"only if the value of black .* is known, but none was given\. Pass black, or"
    ):
        removed_pixels(images(), "black")


def test_an_unknown_replacement_is_refused_with_the_known_ones():
    with pytest.raises(LookupError, match=r"unknown masking 'gray'\. Known: mean, black, blur"):
        removed_pixels(images(), "gray")
