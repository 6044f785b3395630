"""Removed pixels are filled in from their neighbors; the score is what removal in either order does."""

import pytest
import torch
from map_strategies import random_target
from references import perturbation as reference

from fsl_explain import metrics
from fsl_explain.metrics.noisy_imputation import noisy_linear_imputation


def random_images(batch=2, height=6, width=5, dtype=torch.float64):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(
        dtype
    )


def random_kept(batch=2, height=6, width=5, share=0.4):
    return torch.rand(batch, height, width, generator=torch.Generator().manual_seed(1)) < share


def brightness_of_the_left(images):
    return images[..., :2].mean(dim=(1, 2, 3))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_equals_the_loop_version(share):
    images, kept = random_images(), random_kept(share=share)
    kept[:, 2, 3] = True
    found = metrics.noisy_linear_imputation(images, kept, noise=0.0)
    for image, stays, values in zip(images.tolist(), kept.tolist(), found, strict=True):
        expected = torch.tensor([reference.filled(plane, stays) for plane in image], dtype=torch.float64)
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-9)


def test_kept_pixels_stay_bit_by_bit_and_noise_is_on_the_others_alone():
    images, kept = random_images(dtype=torch.float32), random_kept()
    generator = torch.Generator().manual_seed(3)
    quiet = metrics.noisy_linear_imputation(images, kept, noise=0.0)
    noisy = metrics.noisy_linear_imputation(images, kept, noise=0.5, generator=generator)
    everywhere = kept[:, None].expand_as(images)
    assert torch.equal(noisy[everywhere], images[everywhere])
    added = (noisy - quiet)[~everywhere]
    assert (added != 0).all()
    assert 0.35 < added.std() < 0.65


def test_filled_values_lie_between_their_neighbors():
    images, kept = random_images(), random_kept()
    kept[:, 0, 0] = True
    filled = metrics.noisy_linear_imputation(images, kept, noise=0.0)
    for image, stays, values in zip(images, kept, filled, strict=True):
        known = image[:, stays]
        assert (values <= known.amax(dim=1)[:, None, None] + 1e-12).all()
        assert (values >= known.amin(dim=1)[:, None, None] - 1e-12).all()


def test_a_constant_image_and_a_slope_between_two_columns_are_filled_as_they_were():
    kept = torch.zeros(1, 5, 9, dtype=torch.bool)
    kept[:, :, 0] = kept[:, :, -1] = True
    flat = torch.full((1, 3, 5, 9), 0.7, dtype=torch.float64)
    torch.testing.assert_close(metrics.noisy_linear_imputation(flat, kept, noise=0.0), flat)
    slope = torch.linspace(0, 1, 9, dtype=torch.float64).expand(1, 3, 5, 9)
    torch.testing.assert_close(metrics.noisy_linear_imputation(slope, kept, noise=0.0), slope)


def test_everything_kept_changes_nothing_and_nothing_kept_is_refused():
    images, kept = random_images(), torch.ones(2, 6, 5, dtype=torch.bool)
    assert torch.equal(metrics.noisy_linear_imputation(images, kept), images)
    kept[1] = False
    with pytest.raises(ValueError, match=r"some pixels kept in every image, but image 1 keeps none; remove fewer"):
        metrics.noisy_linear_imputation(images, kept)


def test_curves_are_the_scores_of_the_filled_images():
    images, saliency = random_images(), random_target(2, 6, 5).saliency.abs() + 0.1
    found = metrics.road(brightness_of_the_left, images, saliency, shares=(0.2, 0.5), noise=0.0)
    order = saliency.flatten(1).argsort(dim=1)
    for number, count in enumerate((6, 15)):
        removed = {"least_relevant_first": order[:, :count], "most_relevant_first": order[:, -count:]}
        for name, pixels in removed.items():
            kept = torch.ones(2, 30, dtype=torch.bool).scatter(1, pixels, False).reshape(2, 6, 5)
            expected = brightness_of_the_left(metrics.noisy_linear_imputation(images, kept, noise=0.0))
            torch.testing.assert_close(getattr(found, name).scores[:, number], expected)
    lead = found.least_relevant_first.scores - found.most_relevant_first.scores
    torch.testing.assert_close(found.score, lead.mean(dim=1) / 2)


def test_the_map_that_points_at_the_evidence_wins():
    images = torch.zeros(1, 3, 6, 6)
    images[..., :2] = 1
    left = images[:, 0]
    right_map = metrics.road(brightness_of_the_left, images, left + 0.01, shares=(0.3,)).score
    wrong_map = metrics.road(brightness_of_the_left, images, 1.01 - left, shares=(0.3,)).score
    assert right_map > 0 > wrong_map


def test_the_noise_depends_on_the_seed_alone():
    images, saliency = random_images(), random_target(2, 6, 5).saliency
    state = torch.get_rng_state()
    once, again, other = (
        metrics.road(brightness_of_the_left, images, saliency, shares=(0.5,), seed=seed).score for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(state, torch.get_rng_state())


def test_the_noise_of_an_image_does_not_depend_on_those_behind_it():
    images, kept = torch.rand(2, 3, 9, 7, dtype=torch.float64), torch.rand(2, 9, 7) > 0.5
    alone, both = (
        noisy_linear_imputation(images[:count], kept[:count], 0.1, torch.Generator().manual_seed(0)) for count in (1, 2)
    )
    assert torch.equal(alone[0], both[0])


def test_the_noise_of_a_share_does_not_depend_on_the_others():
    images, saliency = random_images(), random_target(2, 6, 5).saliency.abs() + 0.1
    two, alone = (metrics.road(brightness_of_the_left, images, saliency, shares) for shares in ((0.2, 0.5), (0.5,)))
    for name in ("most_relevant_first", "least_relevant_first"):
        assert torch.equal(getattr(two, name).scores[:, 1], getattr(alone, name).scores[:, 0])


def test_no_noise_is_that_of_the_next_seed():
    """With a flat image only the noise tells two filled images apart."""
    images, saliency, seen = torch.zeros(1, 3, 6, 5), random_target(1, 6, 5).saliency.abs() + 0.1, []

    def kept(pixels):
        seen.append(tuple(pixels[pixels != 0].tolist()[:9]))
        return brightness_of_the_left(pixels)

    for seed in (0, 1):
        metrics.road(kept, images, saliency, shares=(0.5, 0.51), seed=seed)
    assert len(set(seen[::4] + seen[1::4])) == 4


def test_an_empty_batch_gives_no_values():
    images, kept = random_images()[:0], random_kept()[:0]
    assert metrics.noisy_linear_imputation(images, kept).shape == (0, 3, 6, 5)
    found = metrics.road(brightness_of_the_left, images, torch.ones(0, 6, 5), shares=(0.2, 0.5))
    assert found.score.shape == (0,)
    assert found.most_relevant_first.scores.shape == (0, 2)


def test_one_batch_at_a_time_and_maps_that_say_nothing_are_nan():
    images, saliency = random_images(3), random_target(3, 6, 5).saliency
    saliency[1] = 0
    sizes = []

    def sized(pixels):
        sizes.append(len(pixels))
        return brightness_of_the_left(pixels)

    found = metrics.road(sized, images, saliency, shares=(0.2, 0.4, 0.6))
    assert sizes == [3] * 6
    assert found.score.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("shares", [(0.5, 1.0), (0.0,), ()])
def test_shares_that_leave_nothing_to_see_are_refused(shares):
    with pytest.raises(
        ValueError, match=r"expected shares of pixels between 0 and 1, but got \[.*\]; leave some pixels"
    ):
        metrics.road(brightness_of_the_left, random_images(), torch.rand(2, 6, 5), shares=shares)
