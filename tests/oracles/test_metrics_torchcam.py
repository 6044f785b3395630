"""Average drop, increase in confidence, insertion and deletion against torchcam, its metrics given the same maps.

torchcam adds 1e-7 to the score that a drop is divided by, and leaves queries with a score of 0 or less in; here they
are left out, so all scores are probabilities. It breaks ties in the order of the rows, here they are broken at random,
so no map has any. Its steps are whole numbers of pixels, rounded up, so the pixels are a multiple of the steps.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torchcam.metrics import ClassificationMetric, DeletionInsertionMetric

from fsl_explain import metrics
from fsl_explain.metrics import Side

pytestmark = pytest.mark.oracles

SIDE, STEPS = 8, 16


class GivenMaps:
    """Stands for torchcam's extractor, and returns the maps it was given."""

    def __init__(self, model, saliency):
        self.model, self.saliency = model, saliency

    def __call__(self, *_, **__):
        return [self.saliency]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return nullcontext()


def classifier():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, 3)).double().eval()


def query(batch=8):
    generator = torch.Generator().manual_seed(1)
    images = 2 * torch.randn(batch, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    return images, torch.rand(batch, SIDE, SIDE, generator=generator, dtype=torch.float64)


def softmax(logits):
    return logits.softmax(dim=-1)


def probability(model, labels):
    def score(images):
        with torch.no_grad():
            return softmax(model(images)).gather(1, labels[:, None])[:, 0]

    return score


def test_drop_and_increase_equal_torchcam():
    model, (images, saliency) = classifier(), query()
    labels = torch.arange(len(images)) % 3
    theirs = ClassificationMetric(GivenMaps(model, saliency), softmax)
    theirs.update(images, labels.tolist())
    score = probability(model, labels)
    s, masked = score(images), score(metrics.masked_images(images, saliency))
    summary = theirs.summary()
    assert 0 < summary["conf_increase"] < 1
    assert metrics.average_drop(s, masked).item() == pytest.approx(100 * summary["avg_drop"], rel=1e-5)
    assert metrics.increase_in_confidence(s, masked).item() == pytest.approx(100 * summary["conf_increase"], abs=1e-9)


@pytest.mark.parametrize("how", ["mean", "blur"])
def test_insertion_and_deletion_equal_torchcam(how):
    model, (images, saliency) = classifier(), query()
    labels = torch.arange(len(images)) % 3
    removed = metrics.removed_pixels(images, how)
    baseline = None if how == "mean" else removed
    theirs = DeletionInsertionMetric(GivenMaps(model, saliency), softmax, steps=STEPS, baseline=baseline)
    theirs.update(images, labels.tolist())
    score, side = probability(model, labels), Side(images, saliency, removed)
    summary = theirs.summary()
    deleted, inserted = (
        curve(score, side, steps=STEPS).area.mean().item() for curve in (metrics.deletion, metrics.insertion)
    )
    assert deleted == pytest.approx(summary["deletion_auc"], abs=1e-6)
    assert inserted == pytest.approx(summary["insertion_auc"], abs=1e-6)
    assert abs(deleted - inserted) > 1e-3
