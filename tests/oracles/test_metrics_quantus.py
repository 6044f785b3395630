"""The metrics of maps against Quantus, one map at a time.

Quantus divides a batch by its largest value and not by that of each map, so a batch of one is its correct use (of
these metrics only Sparseness, which adds 1e-7 to every pixel, could tell). Left out, because it differs on purpose:

- signed maps: Quantus takes absolute values or ranks negative ones as they are; here the positive part counts;
- an empty mask, and a map of zeros: Quantus's pointing game counts an empty mask as a hit, its rank metrics count what
  the order of the pixels happens to be; here both are NaN;
- ties: Quantus's pointing game is a hit if any tied maximum lies inside, and its rank metrics break ties by the sort;
  here the expected value of a random choice counts. AUC has no such choice, so it is compared with ties too.
"""

import warnings

import numpy as np
import pytest
import torch

from fsl_explain import metrics

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

pytestmark = [pytest.mark.oracles, pytest.mark.filterwarnings("ignore::UserWarning")]

BATCH, SIDE = 12, 48
MASKS = torch.zeros(BATCH, SIDE, SIDE, dtype=torch.bool)
for number, mask in enumerate(MASKS):
    mask[2 * number : 20 + 2 * number, 4 + number : 20 + 2 * number] = True
NAMES = {
    "PointingGame": "pointing_game",
    "TopKIntersection": "top_k_intersection",
    "RelevanceRankAccuracy": "relevance_rank_accuracy",
    "RelevanceMassAccuracy": "relevance_mass_accuracy",
    "AUC": "auc",
    "Sparseness": "sparseness",
    "Complexity": "complexity",
}


def maps(levels=None):
    """Positive maps, smooth and noisy in turns, some with their maximum in the mask; tied if rounded to ``levels``."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(BATCH, 1, 6, 6, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")[:, 0].clamp(min=0)
    noisy = torch.rand(BATCH, SIDE, SIDE, generator=generator, dtype=torch.float64)
    smooth[::3][:, 22:26, 18:22] += MASKS[::3, 22:26, 18:22]
    mixed = smooth + noisy * (torch.arange(BATCH) % 2)[:, None, None] + 1e-3 * noisy
    return mixed if levels is None else (mixed * levels).round() / levels + 1 / levels


def asked(name, saliency, masks, **options):
    """One value of Quantus for each map."""
    metric = getattr(quantus, name)(disable_warnings=True, display_progressbar=False, **options)
    images = np.zeros((1, 1, SIDE, SIDE))
    values = [
        metric(
            model=None,
            x_batch=images,
            y_batch=np.zeros(1, dtype=int),
            a_batch=one[None, None].numpy().copy(),
            s_batch=mask[None, None].numpy(),
            batch_size=1,
        )
        for one, mask in zip(saliency, masks, strict=True)
    ]
    return torch.tensor(np.array(values, dtype=float)[:, 0])


def measured(name, saliency):
    metric = getattr(metrics, NAMES[name])
    return metric(saliency) if name in {"Sparseness", "Complexity"} else metric(saliency, MASKS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_quantus(name, dtype):
    saliency = maps()
    expected = asked(name, saliency, MASKS)
    values = measured(name, saliency.to(dtype))
    assert expected.std() > 0
    torch.testing.assert_close(values.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Complexity"])
def test_figures_of_one_sort_equal_quantus(name):
    figures = metrics.map_figures(maps(), MASKS)
    torch.testing.assert_close(getattr(figures, NAMES[name]), asked(name, maps(), MASKS), rtol=0, atol=1e-6)


def test_tied_values_have_the_auc_of_quantus():
    saliency = maps(levels=5)
    assert len(saliency.unique()) < 20
    torch.testing.assert_close(metrics.auc(saliency, MASKS), asked("AUC", saliency, MASKS), rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 100])
def test_top_k_of_another_k_equals_quantus(k):
    values = metrics.top_k_intersection(maps(), MASKS, k=k)
    torch.testing.assert_close(values, asked("TopKIntersection", maps(), MASKS, k=k), rtol=0, atol=1e-12)


def test_an_empty_mask_is_a_hit_for_quantus_and_undefined_here():
    """The reason why it is left out above, kept so that a new version of Quantus is noticed."""
    nowhere = torch.zeros_like(MASKS[:1])
    assert asked("PointingGame", maps()[:1], nowhere).tolist() == [1.0]
    assert metrics.pointing_game(maps()[:1], nowhere).isnan().all()
