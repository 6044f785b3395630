"""Every data set is opened from a configuration as from its class."""

import pytest
from image_sets import write_image, write_text, write_xml
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from fsl_explain.config.data import DataConfig

OPEN = TypeAdapter(DataConfig)


def opened(**values):
    return OPEN.validate_python(values).open()


@pytest.fixture
def birds(tmp_path):
    for name, text in {
        "classes.txt": "1 001.Auk\n",
        "images.txt": "1 001.Auk/a.jpg\n2 001.Auk/b.jpg\n",
        "image_class_labels.txt": "1 1\n2 1\n",
        "bounding_boxes.txt": "1 1 1 5 5\n2 1 1 5 5\n",
        "train_test_split.txt": "1 0\n2 1\n",
    }.items():
        write_text(tmp_path / name, text)
    for name in ("a", "b"):
        write_image(tmp_path / "images" / "001.Auk" / f"{name}.jpg")
        (tmp_path / "segmentations" / "001.Auk").mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 10), 255).save(tmp_path / "segmentations" / "001.Auk" / f"{name}.png")
    return tmp_path


def test_birds_of_one_half_with_masks(birds):
    dataset = opened(kind="cub", root=birds, half="train", segmentations=True)
    assert [path.name for path in dataset.paths] == ["b.jpg"]
    assert dataset[0].mask.all()


def test_few_shot_sets_with_their_split(tmp_path):
    for name in ("train/n01532829", "test/n01930112", "test/n01981276"):
        write_image(tmp_path / name / "a.jpg")
    classes = ["n01930112"]
    for kind in ("mini-imagenet", "tiered-imagenet"):
        assert len(opened(kind=kind, root=tmp_path)) == 3
        assert opened(kind=kind, root=tmp_path, classes=classes).classes == ("n01930112",)
    with pytest.raises(LookupError, match=r"mini-imagenet lacks 18 of 20 classes"):
        opened(kind="mini-imagenet", root=tmp_path, split="mini-imagenet")


def test_imagenet_validation(tmp_path):
    write_image(tmp_path / "pictures" / "n01" / "a.JPEG")
    write_xml(tmp_path / "boxes" / "a.xml", [("n01", 1, 1, 2, 2)])
    dataset = opened(kind="imagenet-validation", root=tmp_path, images="pictures", annotations="boxes")
    assert dataset[0].boxes.tolist() == [[1, 1, 3, 3]]


def test_imagenet_s(tmp_path):
    write_image(tmp_path / "train-semi" / "n01" / "a.JPEG")
    write_image(tmp_path / "train-semi-segmentation" / "n01" / "a.png", color=(1, 0, 0))
    write_image(tmp_path / "train-semi-segmentation" / "n01" / "b.png", color=(0, 0, 0))
    write_text(tmp_path / "list.txt", "n01\n")
    options = {"section": "train-semi", "categories": tmp_path / "list.txt", "single_category": True}
    dataset = opened(kind="imagenet-s", root=tmp_path, **options)
    assert [path.name for path in dataset.paths] == ["a.JPEG"]
    assert dataset[0].mask.all()


def test_pascal_voc(tmp_path):
    write_image(tmp_path / "JPEGImages" / "a.jpg")
    write_xml(tmp_path / "Annotations" / "a.xml", [("dog", 1, 1, 2, 2)])
    write_xml(tmp_path / "Annotations" / "b.xml", [("dog", 1, 1, 2, 2), ("cow", 1, 1, 2, 2)])
    write_text(tmp_path / "ImageSets" / "Main" / "val.txt", "a\nb\n")
    options = {"year": "2007", "image_set": "val", "labels": ["cat", "dog"], "single_category": True}
    dataset = opened(kind="pascal-voc", root=tmp_path, **options)
    assert dataset.classes == ("cat", "dog")
    assert [path.name for path in dataset.paths] == ["a.jpg"]
    with pytest.raises(FileNotFoundError, match=r"Segmentation/val\.txt does not exist"):
        opened(kind="pascal-voc", root=tmp_path, annotation="masks", **options)


def test_omniglot(tmp_path):
    write_image(tmp_path / "images_evaluation" / "ULOG" / "character01" / "a.png")
    assert len(opened(kind="omniglot", root=tmp_path, alphabets="evaluation", rotations=True).classes) == 4
    name = opened(kind="omniglot", root=tmp_path, alphabets="evaluation").classes[0]
    write_text(tmp_path / "split.csv", f"class,part\n{name},novel\n")
    split = {"split": str(tmp_path / "split.csv"), "rotations": True}
    turned = opened(kind="omniglot", root=tmp_path, alphabets="evaluation", **split).classes
    assert turned == (name, *(f"{name} turned {turn}°" for turn in (90, 180, 270)))


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"kind": "pascal-voc", "root": ".", "yaer": "2007"}, "unknown key 'yaer'; did you mean 'year'"),
        ({"kind": "pascal-voc", "root": ".", "year": "2010"}, "Input should be '2007' or '2012'"),
        ({"kind": "omniglot"}, "Field required"),
        ({"root": "."}, "expected a kind of data, but got none"),
        ({"kind": "imagenet"}, "unknown kind of data 'imagenet'; did you mean 'imagenet-s'"),
    ],
)
def test_a_wrong_key_or_value(values, fault):
    with pytest.raises(ValidationError, match=fault):
        OPEN.validate_python(values)
