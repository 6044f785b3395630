"""ROAD's imputation against pytorch-grad-cam, sensitivity and completeness against captum.

pytorch-grad-cam draws its noise from the global generator, so it is switched off on both sides, and it takes a share of
pixels by the percentile of the map, which is the number of pixels here where no values are tied.
"""

import captum.attr
import captum.metrics
import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from torch import nn

from fsl_explain import metrics

pytestmark = [pytest.mark.oracles, pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")]

SIDE = 20


def random_images(batch=3):
    return torch.randn(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def random_maps(batch=3):
    coarse = torch.rand(batch, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[:, 0].exp()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_filled_pixels_equal_pytorch_grad_cam(share):
    images, saliency = random_images(), random_maps()
    kept = saliency < saliency.flatten(1).quantile(1 - share, dim=1)[:, None, None]
    found = metrics.noisy_linear_imputation(images, kept, noise=0.0)
    theirs = NoisyLinearImputer(noise=0.0)
    expected = torch.stack([theirs(image, stays.float()) for image, stays in zip(images, kept, strict=True)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_road_equals_pytorch_grad_cam(share):
    images, saliency = random_images(), random_maps()

    def score(pixels):
        return (pixels[:, 0, :10] * pixels[:, 1, :10]).mean(dim=(1, 2)) + pixels.amax(dim=(1, 2, 3))

    found = metrics.road(score, images, saliency, shares=(share,), noise=0.0)
    orders = {
        "most_relevant_first": RemoveMostRelevantFirst(100 * (1 - share), NoisyLinearImputer(noise=0.0)),
        "least_relevant_first": RemoveLeastRelevantFirst(100 * (1 - share), NoisyLinearImputer(noise=0.0)),
    }
    for name, removal in orders.items():
        filled = torch.stack([removal(image, L) for image, L in zip(images, saliency, strict=True)])
        torch.testing.assert_close(getattr(found, name).scores[:, 0], score(filled), rtol=0, atol=1e-5)


def test_the_largest_change_equals_captums_sensitivity():
    images, seen = random_images().double(), []

    def explain(pixels):
        seen.append(pixels.detach())
        return pixels.square().sum(dim=1).sqrt()

    found = metrics.stability(explain, images, radius=0.1, samples=4)
    noisy = iter(torch.stack(seen[1:]).transpose(0, 1).flatten(0, 1).split(1))

    def same_noise(pixels, radius):
        return (torch.cat([next(noisy) for _ in pixels]),)

    captums = [
        captum.metrics.sensitivity_max(
            lambda pixels: (pixels[0].square().sum(dim=1).sqrt(),), image[None], same_noise, n_perturb_samples=4
        )
        for image in images
    ]
    torch.testing.assert_close(found.largest_change, torch.cat(captums), rtol=1e-9, atol=0)


def test_integrated_gradients_miss_the_score_by_what_captum_says():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    images = random_images().double()
    explainer = captum.attr.IntegratedGradients(lambda pixels: network(pixels)[:, 0])
    attributions, delta = explainer.attribute(images, n_steps=5, return_convergence_delta=True)
    with torch.no_grad():
        scores, blank = network(images)[:, 0], network(torch.zeros_like(images))[:, 0]
    found = metrics.completeness_error(attributions, blank, scores)
    np.testing.assert_allclose(found, (delta.abs() / scores.abs()).detach(), rtol=1e-6)
    assert (found > 0).all()
