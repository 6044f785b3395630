"""Mosaics: which images they are made of, what is cut from each, and where the tiles lie."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from episodes import CsvBoxes, Cub200, LabeledImage
from fsl_explain.evaluation.mosaics.mosaic_images import (
    crop_area,
    cut,
    draw_mosaic,
    paste,
    split_images,
    square_around,
    tile_masks,
)


class Listed:
    """A data set of labels alone."""

    name = "listed"

    def __init__(self, labels):
        self.labels = np.asarray(labels)
        self.classes = tuple(f"class {label}" for label in range(int(self.labels.max()) + 1))
        self.paths = (None,) * len(self.labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position):
        raise AssertionError("no image is needed to draw a mosaic")


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((40.0, 30, 60, 70), (30, 30, 70, 70)),  # grown on both sides
        ((0.0, 20, 10, 60), (0, 20, 40, 60)),  # shifted from the left edge
        ((90.0, 40, 100, 80), (60, 40, 100, 80)),  # shifted from the right edge
        ((10.0, 35, 100, 45), (10, 0, 100, 80)),  # clipped: the image is only 80 high
    ],
    ids=["inside", "left", "right", "clipped"],
)
def test_a_box_grows_to_the_square_of_its_longer_side(box, square):
    assert square_around(tuple(map(float, box)), width=100, height=80) == square


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(8, 200), st.integers(8, 200))
def test_the_square_holds_the_box_and_stays_in_the_image(places, width, height):
    (left, right), (top, bottom) = sorted(places[:2]), sorted(places[2:])
    box = (left * width, top * height, right * width, bottom * height)
    square = square_around(box, width, height)
    assert square[0] <= box[0] + 1e-6
    assert square[1] <= box[1] + 1e-6
    assert square[2] >= box[2] - 1e-6
    assert square[3] >= box[3] - 1e-6
    assert min(square) >= 0
    assert square[2] <= width + 1e-6
    assert square[3] <= height + 1e-6
    longer = max(box[2] - box[0], box[3] - box[1])
    assert square[2] - square[0] == pytest.approx(min(longer, width))
    assert square[3] - square[1] == pytest.approx(min(longer, height))


def test_the_object_is_cut_out_and_an_image_without_annotation_is_whole():
    image = Image.new("RGB", (40, 30), "blue")
    image.paste("red", (10, 5, 20, 11))
    boxes = tv_tensors.BoundingBoxes(
        torch.tensor([[0.0, 0, 2, 2], [10, 5, 20, 11]]), format="XYXY", canvas_size=(30, 40)
    )
    annotated = LabeledImage(image, 0, "red", boxes=boxes)
    assert crop_area(annotated, "box") == (10, 3, 20, 13)  # of the larger box
    assert crop_area(annotated, "image") == (0, 0, 40, 30)
    assert crop_area(LabeledImage(image, 0, "red"), "box") == (0, 0, 40, 30)
    tile = np.asarray(cut(image, (10.0, 5.0, 20.0, 11.0), 8))
    assert tile.shape == (8, 8, 3)
    assert (tile[1:-1, 1:-1] == (255, 0, 0)).all()  # Pillow's filter reads half a pixel beyond the area


def test_the_masks_lie_on_the_tiles():
    colors = ["red", "lime", "blue", "white"]
    mosaic = np.asarray(paste([Image.new("RGB", (5, 5), color) for color in colors]))
    masks = tile_masks(10, 10).numpy()
    for mask, color in zip(masks, colors, strict=True):
        assert (mosaic[mask] == Image.new("RGB", (1, 1), color).getpixel((0, 0))).all()
    assert (tile_masks(9, 7).sum(dim=0) == 1).all()


def test_images_are_split_class_by_class_and_none_is_in_both_parts():
    dataset = Listed(np.repeat(np.arange(5), [3, 4, 10, 11, 40]))
    parts = split_images(dataset, fit_share=0.4, seed=3)
    assert sorted([*parts.fitting, *parts.mosaics]) == list(range(len(dataset)))
    assert np.bincount(dataset.labels[parts.fitting]).tolist() == [1, 2, 4, 4, 16]
    assert split_images(dataset, 0.4, 4).fitting.tolist() != parts.fitting.tolist()
    greedy = split_images(dataset, 0.99, 3)
    assert np.bincount(dataset.labels[greedy.mosaics]).tolist() == [2, 2, 2, 2, 2]
    assert np.bincount(dataset.labels[split_images(dataset, 0.01, 3).fitting]).tolist() == [1] * 5


def test_what_a_mosaic_is_made_of():
    labels = np.repeat(np.arange(6), 5)
    usable = np.flatnonzero(np.arange(30) % 5 > 1)
    drawn = [draw_mosaic(labels, usable, seed=1, number=number) for number in range(60)]
    for mosaic in drawn:
        assert len(set(mosaic.classes.tolist())) == 4
        assert labels[mosaic.tiles].tolist() == labels[mosaic.references].tolist() == mosaic.classes.tolist()
        assert not set(mosaic.tiles.tolist()) & set(mosaic.references.tolist())
        assert set(mosaic.tiles.tolist()) | set(mosaic.references.tolist()) <= set(usable.tolist())
        assert mosaic.target != mosaic.other
    assert {mosaic.target for mosaic in drawn} == {mosaic.other for mosaic in drawn} == {0, 1, 2, 3}
    again = draw_mosaic(labels, usable, seed=1, number=59)
    assert again.tiles.tolist() == drawn[59].tiles.tolist()
    assert again.target == drawn[59].target
    assert draw_mosaic(labels, usable, seed=2, number=59).tiles.tolist() != again.tiles.tolist()


def test_too_little_for_a_mosaic():
    with pytest.raises(ValueError, match="a mosaic needs 4 classes, but listed has 3; use more classes"):
        split_images(Listed(np.repeat(np.arange(3), 9)), 0.5, 0)
    with pytest.raises(ValueError, match=r"every class needs 3 images .* but class class 4 has 2; drop the class"):
        split_images(Listed([*np.repeat(np.arange(4), 3), 4, 4]), 0.5, 0)


@pytest.mark.real
def test_real_photographs_are_enough_for_500_mosaics_without_a_fitted_crop(cub10, tiny_imagenet_boxes):
    for dataset in (Cub200(cub10), CsvBoxes(tiny_imagenet_boxes, label="wnid")):
        parts = split_images(dataset, 0.5, 0)
        used = set()
        for number in range(500):
            mosaic = draw_mosaic(dataset.labels, parts.mosaics, 0, number)
            used |= {*mosaic.tiles.tolist(), *mosaic.references.tolist()}
        assert len(used) > 0.4 * len(dataset)
        assert not used & set(parts.fitting.tolist())
