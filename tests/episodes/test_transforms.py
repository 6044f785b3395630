import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from episodes.annotation import box_mask
from episodes.labeled_image import LabeledImage
from episodes.transforms import Normalize, direct_resize, prepare, training_transform

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
HEIGHT, WIDTH = 60, 90
FLOAT = (v2.ToDtype(torch.float32, scale=True),)


def scene(*boxes, masked=True):
    """A white object on black; boxes, mask and pixels say the same."""
    corners = torch.tensor(boxes, dtype=torch.float32)
    mask = box_mask(corners, HEIGHT, WIDTH).any(dim=0)
    image = Image.fromarray((mask[..., None].expand(-1, -1, 3) * 255).to(torch.uint8).numpy())
    return LabeledImage(
        image,
        0,
        "square",
        boxes=tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=(HEIGHT, WIDTH)),
        mask=tv_tensors.Mask(mask) if masked else None,
    )


@pytest.mark.parametrize(
    "transform",
    [
        v2.Compose([v2.ToImage(), *FLOAT]),
        v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(1.0), *FLOAT]),
        v2.Compose([v2.ToImage(), v2.RandomVerticalFlip(1.0), *FLOAT]),
        v2.Compose([v2.ToImage(), v2.CenterCrop(40), *FLOAT]),
        v2.Compose([v2.ToImage(), v2.Resize((30, 30)), v2.CenterCrop(20), *FLOAT]),
        direct_resize(30, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_boxes_and_mask_follow_the_image(transform):
    """Halving 60 to 30 and cutting 90 to a third keeps these boxes on whole pixels."""
    prepared = prepare(scene([30, 12, 48, 40], [60, 30, 84, 56]), transform)
    seen = prepared.pixels.mean(dim=0) > 0.5
    assert 0 < int(seen.sum()) < seen.numel()
    assert torch.equal(prepared.target_mask, seen)
    from_boxes = box_mask(prepared.boxes, *seen.shape).any(dim=0)
    assert torch.equal(from_boxes, seen)


def test_training_moves_boxes_and_mask_with_the_image():
    transform = training_transform(60, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), flip=0.5)
    centers = set()
    for seed in range(12):
        torch.manual_seed(seed)
        prepared = prepare(scene([30, 0, 60, 60]), transform)
        seen = prepared.pixels.mean(dim=0) > 0.5
        assert torch.equal(prepared.target_mask, seen)
        assert torch.equal(box_mask(prepared.boxes, 60, 60).any(dim=0), seen)
        centers.add(tuple(prepared.target_box.tolist()))
    assert len(centers) > 6


def test_direct_resize_normalizes():
    prepared = prepare(scene([0, 0, 45, 60]), direct_resize(84, MEAN, STD))
    assert prepared.pixels.shape == (3, 84, 84)
    assert prepared.pixels.dtype == torch.float32
    assert type(prepared.pixels) is torch.Tensor
    assert prepared.pixels[:, :, 0].unique().tolist() == [2.0]
    assert prepared.pixels[:, :, -1].unique().tolist() == [-2.0]


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_flip_is_an_argument(flip):
    transform = training_transform(60, MEAN, STD, flip=flip)
    left_seen = prepare(scene([0, 0, 45, 60]), transform).target_box[0] < 15
    assert bool(left_seen) == (flip == 0.0)


@pytest.mark.parametrize("erasing", [0.0, 1.0])
def test_erasing_is_an_argument_and_touches_pixels_alone(erasing):
    torch.manual_seed(0)
    prepared = prepare(scene([0, 0, 90, 60]), training_transform(60, MEAN, STD, flip=0.0, erasing=erasing))
    hidden = (prepared.pixels == 0).all(dim=0)
    assert bool(hidden.any()) == (erasing == 1.0)
    assert bool(prepared.target_mask[hidden].any()) == (erasing == 1.0)


def test_boxes_are_clamped_and_those_cut_away_are_dropped():
    prepared = prepare(
        scene([0, 0, 10, 10], [20, 20, 60, 40], masked=False), v2.Compose([v2.ToImage(), v2.CenterCrop(30), *FLOAT])
    )
    assert prepared.boxes.tolist() == [[0, 5, 30, 25]]


def test_boxes_that_a_transform_moves_out_of_the_image_are_clamped():
    def away(boxes):
        moved = boxes.as_subclass(torch.Tensor) + torch.tensor([-25, 30, -25, 30])
        return tv_tensors.BoundingBoxes(moved, format="XYXY", canvas_size=(HEIGHT, WIDTH))

    transform = v2.Compose([v2.ToImage(), v2.Lambda(away, tv_tensors.BoundingBoxes), *FLOAT])
    assert prepare(scene([20, 20, 60, 40]), transform).boxes.tolist() == [[0, 50, 35, 60]]


def test_nothing_is_left_of_an_object_cut_away():
    crop = v2.Compose([v2.ToImage(), v2.CenterCrop(10), *FLOAT])
    prepared = prepare(scene([0, 0, 10, 10]), crop)
    assert len(prepared.boxes) == 0
    assert prepared.target_mask is None
    assert prepared.target_box is None


def test_without_annotation_there_is_no_target():
    prepared = prepare(LabeledImage(Image.new("RGB", (9, 9)), 0, "blank"), direct_resize(8, MEAN, STD))
    assert (prepared.boxes, prepared.mask, prepared.target_mask, prepared.target_box) == (None,) * 4


def test_the_target_box_is_the_largest():
    prepared = prepare(scene([0, 0, 10, 10], [20, 20, 60, 40], [70, 0, 80, 10]), v2.Compose([v2.ToImage(), *FLOAT]))
    assert prepared.target_box.tolist() == [20, 20, 60, 40]


def test_a_mask_alone_has_its_tight_box():
    labeled = scene([20, 20, 60, 40])
    prepared = prepare(LabeledImage(labeled.image, 0, "square", mask=labeled.mask), v2.Compose([v2.ToImage(), *FLOAT]))
    assert prepared.boxes is None
    assert prepared.target_box.tolist() == [20, 20, 60, 40]


def test_the_mask_goes_before_the_box():
    labeled = scene([20, 20, 60, 40])
    mask = tv_tensors.Mask(torch.zeros(HEIGHT, WIDTH, dtype=torch.bool))
    mask[30, 30] = True
    prepared = prepare(
        LabeledImage(labeled.image, 0, "square", labeled.boxes, mask), v2.Compose([v2.ToImage(), *FLOAT])
    )
    assert int(prepared.target_mask.sum()) == 1
    assert prepared.target_box.tolist() == [20, 20, 60, 40]


@pytest.mark.parametrize(("transform", "got"), [(v2.CenterCrop(9), "Image"), (v2.ToImage(), "torch.uint8")])
def test_a_transform_that_gives_no_float_image_is_refused(transform, got):
    with pytest.raises(ValueError, match=f"float tensor of shape .* but returns .*{got}"):
        prepare(scene([0, 0, 10, 10]), transform)


@pytest.mark.parametrize("size", [(90, 60), (1, 1), (7, 3)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last, "cut"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalizing_by_rows_gives_what_torchvision_gives_bit_by_bit(size, mode, layout, dtype):
    colors = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    whole = v2.Compose([v2.ToImage(), v2.ToDtype(dtype, scale=True)])
    image = whole(Image.fromarray(colors).convert(mode))
    if layout == "cut":
        image = tv_tensors.wrap(image[:, : size[1] // 2 + 1, : size[0] // 2 + 1], like=image)
    else:
        image = tv_tensors.wrap(image[None].contiguous(memory_format=layout)[0], like=image)
    before = image.clone()
    for mean, std in (([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5], [0.25])):
        ours, theirs = (
            Normalize(mean[: len(image)], std[: len(image)]),
            v2.Normalize(mean[: len(image)], std[: len(image)]),
        )
        found, expected = ours(image), theirs(image)
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
        assert layout == "cut" or 1 in size or found.stride() == expected.stride()
        assert torch.equal(image, before)
        plain = ours(image.as_subclass(torch.Tensor))
        assert type(plain) is torch.Tensor
        assert torch.equal(plain, expected)
        assert repr(ours) == repr(theirs)


def test_normalizing_refuses_and_passes_by_what_torchvision_does():
    image = v2.ToDtype(torch.float32)(v2.ToImage()(Image.new("RGB", (4, 3))))
    with pytest.raises(ValueError, match="std evaluated to zero"):
        Normalize([0.5] * 3, [0.5, 0.0, 0.5])(image)
    with pytest.raises(TypeError, match="float tensor"):
        Normalize([0.5] * 3, [0.5] * 3)(v2.ToImage()(Image.new("RGB", (4, 3))))
    mask = tv_tensors.Mask(torch.rand(4, 5, 3).permute(2, 0, 1))
    assert torch.equal(Normalize([0.5] * 3, [0.5] * 3)({"mask": mask})["mask"], mask)


def test_boxes_of_what_was_cut_away_are_dropped_and_others_clamped():
    boxes = scene([-5, 10, 30, 95], [95, 5, 99, 9], [10, 10, 10, 20], [80, 50, 90, 60])
    kept = prepare(boxes, v2.Compose([v2.ToImage(), *FLOAT])).boxes
    assert kept.tolist() == [[0, 10, 30, 60], [80, 50, 90, 60]]
    assert kept.canvas_size == (HEIGHT, WIDTH)
    assert prepare(boxes, v2.Compose([v2.ToImage(), v2.CenterCrop(10), *FLOAT])).boxes.shape == (0, 4)
