import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from map_strategies import random_target, targets
from references import localization, perturbation

from fsl_explain import metrics

THRESHOLDS = (0.1, 0.25, 0.6, 1.0)
found_overlaps = st.lists(
    st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.75, 1.0, float("nan")]), min_size=3, max_size=3),
    min_size=1,
    max_size=6,
)


@given(target=targets())
def test_every_threshold_is_that_of_the_loop_version(target):
    found = metrics.intersections_over_unions(target.saliency, target.boxes, thresholds=THRESHOLDS)
    pairs = list(zip(target.saliency.tolist(), target.boxes.tolist(), strict=True))
    expected = [[localization.intersection_over_union(L, box, t) for t in THRESHOLDS] for L, box in pairs]
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)


@given(found=found_overlaps)
def test_shares_equal_the_loop_version_and_nan_images_do_not_count(found):
    overlaps = [0.3, 0.5]
    accuracy = metrics.box_accuracy(
        torch.tensor(found, dtype=torch.float64), thresholds=(0.2, 0.4, 0.6), overlaps=overlaps
    )
    expected = torch.tensor(perturbation.box_accuracy(found, overlaps), dtype=torch.float64)
    torch.testing.assert_close(accuracy.accuracy, expected, rtol=0, atol=1e-12, equal_nan=True)
    assert accuracy.counted == sum(all(v == v for v in row) for row in found)


def test_by_hand_and_an_overlap_that_is_just_reached_counts():
    found = torch.tensor([[0.5, 0.8], [0.4, 0.5], [0.1, 0.49]], dtype=torch.float64)
    accuracy = metrics.box_accuracy(found, thresholds=(0.2, 0.4), overlaps=(0.5, 0.3))
    torch.testing.assert_close(accuracy.accuracy, torch.tensor([[1 / 3, 2 / 3], [2 / 3, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(accuracy.best, torch.tensor([2 / 3, 1.0], dtype=torch.float64))
    assert accuracy.best_threshold.tolist() == [0.4, 0.4]


def test_of_equally_good_thresholds_the_lowest_is_named():
    accuracy = metrics.box_accuracy(torch.tensor([[0.1, 0.9, 0.9]]), thresholds=(0.2, 0.4, 0.6), overlaps=(0.5,))
    assert accuracy.best_threshold.item() == pytest.approx(0.4)


def test_where_no_image_counts_no_threshold_is_best():
    accuracy = metrics.box_accuracy(torch.tensor([[0.1, torch.nan]]), thresholds=(0.2, 0.4), overlaps=(0.3, 0.5))
    assert accuracy.counted == 0
    assert accuracy.best.isnan().all()
    assert accuracy.best_threshold.isnan().all()
    assert accuracy.best_threshold.shape == (2,)


def test_stricter_overlaps_are_reached_by_fewer():
    target = random_target(batch=8, height=20, width=20)
    found = metrics.intersections_over_unions(target.saliency, target.boxes)
    accuracy = metrics.box_accuracy(found, overlaps=(0.1, 0.2, 0.3))
    assert (accuracy.accuracy.diff(dim=0) <= 0).all()
    assert accuracy.best[0] > 0


def test_thresholds_of_another_sweep_are_refused():
    with pytest.raises(ValueError, match=r"expected one threshold for each of 2 columns, but got 19; pass those"):
        metrics.box_accuracy(torch.zeros(3, 2))
