import jaxtyping
import pytest
import torch
from hypothesis import given
from map_strategies import masks_of, random_target, targets
from references import localization as reference

from fsl_explain.metrics import intersection_over_union, largest_component_boxes, pointing_game


def assert_agree(values, expected, tolerance):
    torch.testing.assert_close(values.double(), expected.double(), rtol=0, atol=tolerance, equal_nan=True)


# The sums 0.2 * max of eighths are rounded differently in single precision, so that the edge itself may fall apart.
@pytest.mark.parametrize(
    ("threshold", "dtypes"),
    [
        (0.2, [torch.float64]),
        (0.25, [torch.float64, torch.float32]),
        (0.5, [torch.float64, torch.float32]),
        (1.0, [torch.float64, torch.float32]),
    ],
)
@given(target=targets(side=8))
def test_equals_the_loop_version(threshold, dtypes, target):
    maps, true = target.saliency.tolist(), target.boxes.tolist()
    found = torch.tensor([reference.largest_component_box(L, threshold) for L in maps], dtype=torch.float64)
    pairs = zip(maps, true, strict=True)
    overlap = torch.tensor([reference.intersection_over_union(*p, threshold) for p in pairs], dtype=torch.float64)
    for dtype in dtypes:
        boxes = largest_component_boxes(target.saliency.to(dtype), threshold=threshold)
        values = intersection_over_union(target.saliency.to(dtype), target.boxes, threshold=threshold)
        assert boxes.dtype == values.dtype == dtype
        assert_agree(boxes, found, 0)
        assert_agree(values, overlap, 1e-9 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_loop_version_on_larger_maps(dtype):
    target = random_target(batch=3, height=24, width=21, dtype=dtype)
    maps, true = target.saliency.tolist(), target.boxes.tolist()
    pairs = zip(maps, true, strict=True)
    expected = torch.tensor([reference.intersection_over_union(*p, 0.2) for p in pairs], dtype=torch.float64)
    assert_agree(intersection_over_union(target.saliency, target.boxes), expected, 1e-6)


@given(target=targets())
def test_batch_equals_one_at_a_time_and_scaling_changes_nothing(target):
    alone = torch.cat([largest_component_boxes(L[None], threshold=0.25) for L in target.saliency])
    assert_agree(largest_component_boxes(target.saliency * 4, threshold=0.25), alone, 0)


def test_a_map_that_is_the_box_fits_it_perfectly():
    boxes = torch.tensor([[2, 1, 5, 6], [0, 0, 7, 9], [6, 8, 7, 9]])
    mask = masks_of(boxes, 9, 7)
    assert largest_component_boxes(mask.float()).tolist() == boxes.tolist()
    assert intersection_over_union(mask.float(), boxes).tolist() == [1, 1, 1]
    assert pointing_game(mask.float(), mask).tolist() == [1, 1, 1]


def test_a_map_without_information_scores_the_area_of_the_box():
    boxes = torch.tensor([[1.0, 1.0, 3.0, 4.0]])
    torch.testing.assert_close(intersection_over_union(torch.ones(1, 5, 6), boxes), torch.tensor([6 / 30]))


def picture(*rows: str) -> torch.Tensor:
    return torch.tensor([[float(mark == "#") for mark in row] for row in rows])


def test_components_join_at_corners_and_the_first_of_equal_size_counts():
    saliency = torch.stack(
        [
            picture("#...", ".#..", "..#.", ".#.."),
            picture("..##", "....", "##..", "...."),
            picture("#..#", "#.##", "...#", "...."),
            picture("#.#.", "#.#.", "####", "...."),
        ]
    )
    expected = [[0, 0, 3, 4], [2, 0, 4, 1], [2, 0, 4, 3], [0, 0, 4, 3]]
    assert largest_component_boxes(saliency).tolist() == expected


def test_components_do_not_join_across_a_row_end_or_across_images():
    saliency = torch.stack(
        [picture("...#", "#...", "#..."), picture("#...", "....", "...."), picture("....", "....", "####")]
    )
    assert largest_component_boxes(saliency).tolist() == [[0, 1, 1, 3], [0, 0, 1, 1], [0, 2, 4, 3]]


def test_the_edge_of_the_threshold_belongs_to_the_region():
    saliency = torch.tensor([[[1.0, 0.25, 0.2, 0.0]]])
    assert largest_component_boxes(saliency, threshold=0.25).tolist() == [[0, 0, 2, 1]]
    assert largest_component_boxes(saliency, threshold=0.26).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_to_judge_is_nan(dtype):
    saliency = torch.ones(8, 4, 4, dtype=dtype)
    saliency[0], saliency[1] = 0, -1
    saliency[2, 0, 0], saliency[3, 0, 0], saliency[4, 0, 0] = torch.nan, torch.inf, -torch.inf
    boxes = torch.tensor([0.0, 0.0, 2.0, 2.0]).repeat(8, 1)
    boxes[5], boxes[6] = torch.tensor([1.0, 1.0, 1.0, 3.0]), torch.tensor([3.0, 3.0, 1.0, 1.0])
    overlap = intersection_over_union(saliency, boxes)
    assert overlap.isnan().tolist() == [True] * 7 + [False]
    assert largest_component_boxes(saliency).isnan().all(1).tolist() == [True] * 5 + [False] * 3


def test_a_box_with_an_unknown_corner_is_nan():
    boxes = torch.tensor([[0.0, 0.0, torch.nan, 2.0]])
    assert intersection_over_union(torch.ones(1, 4, 4), boxes).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_holds_the_boxes_of_a_photograph(dtype):
    """Areas above the largest number of half precision, and places between the steps of the shorter one."""
    boxes = torch.tensor([[0.0, 0.0, 300.0, 300.0], [257.0, 259.0, 299.0, 283.0]])
    mask = masks_of(boxes, 300, 300)
    assert largest_component_boxes(mask.to(dtype)).tolist() == boxes.tolist()
    assert intersection_over_union(mask.to(dtype), boxes).tolist() == [1, 1]


def test_one_box_for_several_maps_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks of annotations are the tests' alone
    with pytest.raises(ValueError, match=r"expected one box a map, 3 of them, but got 1; pair them"):
        intersection_over_union(torch.ones(3, 4, 4), torch.tensor([[0.0, 0.0, 2.0, 2.0]]))


def test_an_empty_batch_and_a_batch_without_regions_give_what_they_have():
    assert intersection_over_union(torch.ones(0, 3, 4), torch.ones(0, 4)).shape == (0,)
    assert largest_component_boxes(torch.zeros(2, 3, 4)).isnan().all()


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.5, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(ValueError, match=rf"above 0 and up to 1, but it is {threshold}\. Choose one in between"):
        largest_component_boxes(torch.ones(1, 2, 2), threshold=threshold)
