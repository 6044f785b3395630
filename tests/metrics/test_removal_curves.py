"""Insertion and deletion: which pixels go, in which order, what takes their place, and what is held in memory."""

import pytest
import torch
from map_strategies import random_target
from references import perturbation as reference

from fsl_explain import metrics
from fsl_explain.metrics import Side

STEPS = 5
CURVES = {
    "deletion": (metrics.deletion, reference.deletion_images),
    "insertion": (metrics.insertion, reference.insertion_images),
}
both_ways = pytest.mark.parametrize(("fast", "slow"), CURVES.values(), ids=CURVES)


def random_images(batch=3, height=6, width=5, seed=0):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def score(images):
    """Not a sum over pixels, so that the order of removal matters."""
    return (images.flatten(1).mean(dim=1) + images[:, 0].amax(dim=(1, 2))).tanh()


def replacements(images):
    black = torch.tensor([-2.0, -1.5, -1.0], dtype=torch.float64)[:, None, None]
    return {"mean": 0.0, "black": black, "blur": metrics.removed_pixels(images, "blur")}


@both_ways
@pytest.mark.parametrize("how", ["mean", "black", "blur"])
def test_equals_the_loop_version(fast, slow, how):
    images, saliency = random_images(), random_target(3, 6, 5).saliency.abs()
    removed = replacements(images)[how]
    curve = fast(score, Side(images, saliency, removed), steps=STEPS)
    filling = torch.as_tensor(removed, dtype=torch.float64).expand_as(images)
    for i in range(len(images)):
        steps = slow(images[i].tolist(), saliency[i].tolist(), filling[i].tolist(), STEPS)
        expected = score(torch.tensor(steps, dtype=torch.float64))
        torch.testing.assert_close(curve.scores[i], expected, rtol=0, atol=1e-12)
        assert curve.area[i].item() == pytest.approx(reference.area(expected.tolist()), abs=1e-12)
    assert curve.shares.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


@both_ways
def test_ends_are_the_whole_image_and_what_is_removed(fast, slow):
    images, saliency = random_images(), random_target(3, 6, 5).saliency
    scores = fast(score, Side(images, saliency, -2.0), steps=4).scores
    whole, blank = score(images), score(torch.full_like(images, -2.0))
    first, last = (whole, blank) if fast is metrics.deletion else (blank, whole)
    torch.testing.assert_close(scores[:, 0], first)
    torch.testing.assert_close(scores[:, -1], last)


def test_deletion_of_the_reversed_order_is_insertion_read_backwards():
    images, saliency = random_images(), random_target(3, 6, 5).saliency.abs() + 0.01
    forwards = metrics.deletion(score, Side(images, saliency), steps=6)
    backwards = metrics.insertion(score, Side(images, 1 / saliency), steps=6)
    torch.testing.assert_close(forwards.scores, backwards.scores.flip(1))


def test_the_map_that_points_at_the_evidence_wins_both():
    """The score is the brightness of the left half."""
    images = torch.ones(1, 3, 4, 4)
    left = torch.zeros(1, 4, 4)
    left[:, :, :2] = 1

    def brightness(pixels):
        return pixels[..., :2].mean(dim=(1, 2, 3))

    right, wrong = Side(images, left), Side(images, 1 - left)
    assert metrics.deletion(brightness, right).area < metrics.deletion(brightness, wrong).area
    assert metrics.insertion(brightness, right).area > metrics.insertion(brightness, wrong).area
    assert metrics.deletion(brightness, right, steps=2).scores.tolist() == [[1, 0, 0]]


def test_both_images_of_a_pair_lose_the_same_share():
    one, other = random_images(2), random_images(2, 4, 7, seed=1)
    maps = random_target(2, 6, 5).saliency.abs(), random_target(2, 4, 7).saliency.abs()
    seen = []

    def removed_shares(first, second):
        seen.append([float((pixels == 9).double().mean()) for pixels in (first, second)])
        return first.mean(dim=(1, 2, 3)) * second.mean(dim=(1, 2, 3))

    curve = metrics.deletion(removed_shares, Side(one, maps[0], 9.0), Side(other, maps[1], 9.0), steps=2)
    assert seen == [[0, 0], [0.5, 0.5], [1, 1]]
    torch.testing.assert_close(curve.scores[:, 0], one.mean(dim=(1, 2, 3)) * other.mean(dim=(1, 2, 3)))


def test_ties_go_in_an_order_that_is_neither_that_of_the_rows_nor_another_each_time():
    places = metrics.removal_curves.removal_places(torch.ones(2, 6, 6))
    assert torch.equal(places[0], places[1])
    assert sorted(places[0].flatten().tolist()) == list(range(36))
    assert places[0].flatten().tolist() != list(range(36))
    assert torch.equal(places, metrics.removal_curves.removal_places(torch.full((2, 6, 6), 0.3)))


def test_negative_values_are_clipped_so_that_they_are_tied():
    saliency = random_target(2, 6, 5).saliency
    places = metrics.removal_curves.removal_places(saliency)
    assert torch.equal(places, metrics.removal_curves.removal_places(saliency.clamp(min=0)))


def test_a_map_that_says_nothing_has_no_curve():
    saliency = torch.rand(4, 6, 5)
    saliency[1], saliency[2, 0, 0] = -1, torch.nan
    curve = metrics.insertion(score, Side(random_images(4), saliency), steps=3)
    assert curve.scores.isnan().all(dim=1).tolist() == [False, True, True, False]
    assert curve.area.isnan().tolist() == [False, True, True, False]


@both_ways
def test_an_empty_batch_gives_no_values(fast, slow):
    curve = fast(lambda images: images.mean(dim=(1, 2, 3)), Side(random_images()[:0], torch.ones(0, 6, 5)), steps=3)
    assert curve.scores.shape == (0, 4)
    assert curve.area.shape == (0,)


def test_one_batch_is_scored_at_a_time_whatever_the_number_of_steps():
    sizes = []

    def sized(images):
        sizes.append(images.shape)
        return score(images)

    metrics.deletion(sized, Side(random_images(), random_target(3, 6, 5).saliency), steps=50)
    assert sizes == [(3, 3, 6, 5)] * 51


def test_images_and_maps_are_left_as_they_were():
    images, saliency = random_images(), random_target(3, 6, 5).saliency
    kept = images.clone(), saliency.clone()
    state = torch.get_rng_state()
    metrics.deletion(score, Side(images, saliency), steps=3)
    assert torch.equal(images, kept[0])
    assert torch.equal(saliency, kept[1])
    assert torch.equal(state, torch.get_rng_state())


def test_mistakes_are_named():
    side = Side(random_images(), random_target(3, 6, 5).saliency)
    with pytest.raises(ValueError, match=r"expected at least 1 step, but got 0; raise steps"):
        metrics.deletion(score, side, steps=0)
    with pytest.raises(ValueError, match=r"expected images with their maps, but got none; pass one Side"):
        metrics.deletion(score)
    with pytest.raises(ValueError, match=r"one score for each of 3 images, but got scores of shape \(3, 1\); let the"):
        metrics.insertion(lambda images: score(images)[:, None], side)
