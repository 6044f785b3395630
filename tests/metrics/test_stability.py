import pytest
import torch
from references import perturbation as reference

from fsl_explain import metrics

RADIUS = 0.1


def random_images(batch=3):
    return torch.randn(batch, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def squares(images):
    return images.square().sum(dim=1)


def test_equals_the_loop_version():
    seen = []

    def explain(images):
        seen.append(images)
        return squares(images)

    images = random_images()
    found = metrics.stability(explain, images, radius=RADIUS, samples=4)
    for i in range(3):
        original = squares(images)[i].flatten().tolist()
        changes, slopes = [], []
        for noisy in seen[1:]:
            pairs = zip(squares(noisy)[i].flatten().tolist(), original, strict=True)
            change = reference.norm([a - b for a, b in pairs])
            changes.append(change / reference.norm(original))
            slopes.append(change / reference.norm((noisy - images)[i].flatten().tolist()))
        assert found.lipschitz[i].item() == pytest.approx(max(slopes))
        assert found.largest_change[i].item() == pytest.approx(max(changes))
        assert found.mean_change[i].item() == pytest.approx(sum(changes) / 4)


def test_the_noise_fills_its_range_evenly_and_is_new_for_every_sample():
    noise = []
    images = torch.zeros(2, 3, 40, 40)

    def explain(pixels):
        noise.append(pixels)
        return pixels[:, 0] + 1

    metrics.stability(explain, images, radius=RADIUS, samples=2)
    drawn = torch.stack(noise[1:])
    assert drawn.abs().max() <= RADIUS
    assert drawn.abs().max() > 0.99 * RADIUS
    assert abs(drawn.mean()) < 0.01 * RADIUS * 2
    assert drawn.std().item() == pytest.approx(RADIUS / 3**0.5, rel=0.03)
    assert not torch.equal(drawn[0], drawn[1])


def test_a_linear_map_has_the_slope_of_its_matrix_and_no_more():
    """Three times the mean over the channels: no noise is enlarged by more than 3/√3."""
    images = random_images()
    found = metrics.stability(lambda pixels: 3 * pixels.mean(dim=1), images, radius=RADIUS, samples=20)
    assert (found.lipschitz <= 3 / 3**0.5 + 1e-9).all()
    assert (found.lipschitz > 0.5 * 3 / 3**0.5).all()


def test_a_map_that_does_not_look_is_stable_and_more_noise_changes_more():
    images = random_images()
    blind = metrics.stability(lambda pixels: torch.ones(3, 4, 5), images)
    assert blind.lipschitz.tolist() == blind.largest_change.tolist() == blind.mean_change.tolist() == [0, 0, 0]
    little, much = (metrics.stability(squares, images, radius=radius) for radius in (0.01, 0.3))
    assert (little.mean_change < much.mean_change).all()
    assert (little.mean_change < little.largest_change).all()


def test_maps_without_a_length_or_with_a_hole_are_nan():
    def explain(images):
        maps = squares(images)
        maps[1] = 0
        maps[2, 0, 0] = torch.nan
        return maps

    found = metrics.stability(explain, random_images())
    assert found.lipschitz.isnan().tolist() == [False, False, True]
    assert found.largest_change.isnan().tolist() == found.mean_change.isnan().tolist() == [False, True, True]


def test_a_map_of_zeros_that_noise_wakes_and_an_infinite_pixel_are_nan():
    images = random_images()

    def explain(pixels):
        maps = squares(pixels)
        maps[1] *= float(not torch.equal(pixels, images))
        maps[2, 0, 0] = torch.inf if torch.equal(pixels, images) else 1.0
        return maps

    found = metrics.stability(explain, images)
    assert found.lipschitz.isnan().tolist() == [False, False, True]
    assert found.largest_change.isnan().tolist() == found.mean_change.isnan().tolist() == [False, True, True]
    assert found.lipschitz[:2].isfinite().all()


def test_the_seed_decides_and_the_global_generator_does_not():
    images, state = random_images(), torch.get_rng_state()
    once, again, other = (metrics.stability(squares, images, seed=seed).mean_change for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert torch.equal(state, torch.get_rng_state())


def test_the_noise_of_an_image_does_not_depend_on_those_behind_it_nor_a_sample_on_those_before():
    images, seen = random_images(), []

    def explain(pixels):
        seen.append(pixels)
        return squares(pixels)

    metrics.stability(explain, images, samples=3)
    metrics.stability(explain, images[:2], samples=3)
    both, fewer = seen[1:4], seen[5:]
    assert all(torch.equal(one[:2], other) for one, other in zip(both, fewer, strict=True))
    assert not torch.equal(both[0][0] - images[0], both[0][1] - images[1])


def test_no_sample_is_that_of_the_next_seed():
    images, seen = torch.zeros(1, 3, 4, 5), []

    def explain(pixels):
        seen.append(pixels)
        return squares(pixels)

    for seed in (0, 1):
        metrics.stability(explain, images, samples=3, seed=seed)
    drawn = [pixels for pixels in seen if pixels.any()]
    assert len({tuple(pixels.flatten().tolist()) for pixels in drawn}) == 6


def test_an_empty_batch_gives_no_values():
    found = metrics.stability(squares, random_images()[:0])
    assert found.lipschitz.shape == found.largest_change.shape == found.mean_change.shape == (0,)


@pytest.mark.parametrize(("radius", "samples"), [(0.0, 3), (0.1, 0), (float("nan"), 3)])
def test_no_noise_is_refused(radius, samples):
    with pytest.raises(
        ValueError, match=r"expected a radius above 0 and at least 1 sample, but got .*; raise the lower"
    ):
        metrics.stability(squares, random_images(), radius=radius, samples=samples)
