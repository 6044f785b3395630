import numpy as np
import pytest
import torch
from image_sets import check_law, forbid_reading, write_image, write_text, write_xml
from PIL import Image
from torchvision.datasets import VOCDetection, VOCSegmentation

from episodes.datasets import pascal_voc
from episodes.datasets.pascal_voc import VOC_CLASSES, PascalVoc

OBJECTS = {
    "2007_000001": [("dog", 1, 1, 4, 4), ("cat", 1, 1, 12, 10), ("dog", 5, 5, 6, 6)],
    "2007_000002": [("tvmonitor", 3, 4, 8, 9)],
    "2007_000003": [("person", 1, 1, 12, 10), ("bicycle", 2, 2, 5, 5)],
}
MASKS = {"2007_000001": [8, 8, 12, 255], "2007_000002": [0, 20, 255], "2007_000003": [15, 15, 15, 2, 0]}


def write_mask(root, stem, values, size=(12, 10)):
    """Write a palette picture whose first rows hold the values, the rest background."""
    rows = np.zeros((size[1], size[0]), dtype=np.uint8)
    rows[: len(values)] = np.array(values, dtype=np.uint8)[:, None]
    picture = Image.fromarray(rows)
    picture.putpalette([index * 7 % 256 for index in range(768)])
    path = root / "SegmentationClass" / f"{stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for stem, objects in OBJECTS.items():
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        write_xml(root / "Annotations" / f"{stem}.xml", objects)
        write_mask(root, stem, MASKS[stem])
    stems = "\n".join(reversed(OBJECTS))
    write_text(root / "ImageSets" / "Main" / "trainval.txt", stems + "\n")
    write_text(root / "ImageSets" / "Main" / "dog_trainval.txt", "2007_000001  1\n2007_000002 -1\n")
    write_text(root / "ImageSets" / "Segmentation" / "trainval.txt", stems + "\n")
    return root


def seen(dataset):
    return [(path.stem[-1], dataset.classes[label]) for path, label in zip(dataset.paths, dataset.labels, strict=True)]


def test_boxes_of_the_category_that_covers_most(official):
    photographs = PascalVoc(official)
    check_law(photographs)
    assert photographs.classes == VOC_CLASSES
    assert seen(photographs) == [("3", "person"), ("2", "tvmonitor"), ("1", "cat")]
    assert photographs[2].boxes.tolist() == [[0, 0, 12, 10]]
    assert photographs[1].boxes.tolist() == [[2, 3, 8, 9]]
    assert photographs[0].mask is None


def test_masks_of_the_category_that_covers_most(official):
    photographs = PascalVoc(official, annotation="masks")
    check_law(photographs)
    assert seen(photographs) == [("3", "person"), ("2", "tvmonitor"), ("1", "cat")]
    assert photographs[1].mask.any(dim=1).nonzero().flatten().tolist() == [1]
    assert photographs[2].boxes.tolist() == [[0, 0, 12, 2]]


def test_the_void_border_is_no_object(official):
    photographs = PascalVoc(official, annotation="masks", labels=["dog"])
    assert photographs[0].mask.any(dim=1).nonzero().flatten().tolist() == [2]


@pytest.mark.parametrize("annotation", ["boxes", "masks"])
def test_labels_judge_an_image_by_them_alone(official, annotation):
    photographs = PascalVoc(official, annotation=annotation, labels=["dog", "bicycle", "bird"])
    check_law(photographs)
    assert photographs.classes == ("bicycle", "bird", "dog")
    assert seen(photographs) == [("3", "bicycle"), ("1", "dog")]
    if annotation == "boxes":
        assert photographs[1].boxes.tolist() == [[0, 0, 4, 4], [4, 4, 6, 6]]


@pytest.mark.parametrize("annotation", ["boxes", "masks"])
def test_a_single_category_counts_all_twenty(official, annotation):
    assert seen(PascalVoc(official, annotation=annotation, single_category=True)) == [("2", "tvmonitor")]
    with pytest.raises(ValueError, match="list trainval, is left; choose more labels"):
        PascalVoc(official, annotation=annotation, labels=["dog", "bicycle"], single_category=True)


def test_the_mask_and_not_the_boxes_says_how_many_categories(official):
    """A difficult object has a box, but is void in the mask."""
    write_mask(official, "2007_000001", [8, 8, 255, 255])
    assert ("1", "cat") in seen(PascalVoc(official, annotation="masks", single_category=True))
    assert ("1", "cat") not in seen(PascalVoc(official, annotation="boxes", single_category=True))


def test_the_boxes_of_a_category_add_up(official):
    write_xml(
        official / "Annotations" / "2007_000001.xml", [("dog", 1, 1, 4, 4), ("cat", 1, 1, 5, 5), ("dog", 5, 5, 9, 9)]
    )
    assert seen(PascalVoc(official))[2] == ("1", "dog")


def test_a_tie_goes_to_the_first_by_name(official):
    write_xml(official / "Annotations" / "2007_000001.xml", [("dog", 1, 1, 4, 4), ("cat", 5, 5, 8, 8)])
    assert seen(PascalVoc(official))[2] == ("1", "cat")
    write_mask(official, "2007_000001", [12, 12, 8, 8])
    assert seen(PascalVoc(official, annotation="masks"))[2] == ("1", "cat")


def test_annotations_are_those_that_torchvision_reads(official):
    top = official.parent.parent
    boxes, masks = PascalVoc(top), PascalVoc(top, annotation="masks")
    detection = VOCDetection(top, year="2012", image_set="trainval")
    segmentation = VOCSegmentation(top, year="2012", image_set="trainval")
    assert [str(path) for path in boxes.paths] == detection.images
    assert [str(path) for path in masks.paths] == segmentation.images
    for position, labeled in enumerate(masks):
        levels = torch.from_numpy(np.array(segmentation[position][1]))
        assert torch.equal(labeled.mask.bool(), levels == VOC_CLASSES.index(labeled.class_name) + 1)
        edges = [
            [int(found["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax")]
            for found in detection[position][1]["annotation"]["object"]
            if found["name"] == boxes[position].class_name
        ]
        assert (boxes[position].boxes + torch.tensor([1, 1, 0, 0])).tolist() == edges


def test_opening_reads_no_image(official, monkeypatch):
    forbid_reading(monkeypatch, pascal_voc)
    assert len(PascalVoc(official)) == len(PascalVoc(official, annotation="masks")) == 3


def test_the_year_and_the_folders_above(official):
    top = official.parent.parent
    assert len(PascalVoc(top)) == len(PascalVoc(top / "VOCdevkit")) == 3
    with pytest.raises(
        FileNotFoundError, match=r"found no ImageSets in .*; expected PASCAL VOC's layout VOCdevkit/VOC2007"
    ):
        PascalVoc(top, year="2007")
    with pytest.raises(LookupError, match="unknown year of PASCAL VOC '2013'"):
        PascalVoc(top, year="2013")


def test_unknown_names(official):
    with pytest.raises(LookupError, match="unknown annotation of PASCAL VOC 'mask'; did you mean 'masks'"):
        PascalVoc(official, annotation="mask")
    with pytest.raises(LookupError, match="unknown category of PASCAL VOC 'bycicle'; did you mean 'bicycle'"):
        PascalVoc(official, labels=["bycicle"])
    write_xml(official / "Annotations" / "2007_000002.xml", [("monitor", 3, 4, 8, 9)])
    with pytest.raises(ValueError, match=r"000002\.xml: unknown category of PASCAL VOC 'monitor'"):
        PascalVoc(official)


def test_a_bad_list(official):
    with pytest.raises(FileNotFoundError, match=r"valid\.txt does not exist; choose one that does: trainval"):
        PascalVoc(official, image_set="valid")
    with pytest.raises(ValueError, match=r"line 1: expected one image name, but got '2007_000001  1'"):
        PascalVoc(official, image_set="dog_trainval")
    write_text(official / "ImageSets" / "Main" / "twice.txt", "2007_000001\n2007_000002\n2007_000001\n")
    with pytest.raises(ValueError, match=r"twice\.txt, line 3: 2007_000001 stands in line 1 already"):
        PascalVoc(official, image_set="twice")


def test_missing_files(official):
    (official / "JPEGImages" / "2007_000003.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"the image .*000003\.jpg does not exist"):
        PascalVoc(official)[0]
    (official / "Annotations" / "2007_000003.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"the annotation .*000003\.xml does not exist"):
        PascalVoc(official)
    (official / "SegmentationClass" / "2007_000003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"000003\.png does not exist"):
        PascalVoc(official, annotation="masks")


def test_bad_annotations(official):
    write_xml(official / "Annotations" / "2007_000003.xml", [])
    with pytest.raises(ValueError, match=r"000003\.xml lists no object"):
        PascalVoc(official)
    write_mask(official, "2007_000003", [15], size=(10, 12))
    with pytest.raises(ValueError, match=r"000003\.png has 10x12 pixels, but its image has 12x10"):
        PascalVoc(official, annotation="masks")[0]
    write_mask(official, "2007_000003", [21])
    with pytest.raises(ValueError, match=r"000003\.png holds the value 21; expected 0 to 20, or 255"):
        PascalVoc(official, annotation="masks")
    Image.new("RGB", (12, 10)).save(official / "SegmentationClass" / "2007_000003.png")
    with pytest.raises(ValueError, match=r"000003\.png has the shape \(10, 12, 3\); expected one channel"):
        PascalVoc(official, annotation="masks")
