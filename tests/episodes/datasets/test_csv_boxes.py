import numpy as np
import pytest
from PIL import Image

from episodes.annotation import box_mask
from episodes.datasets.csv_boxes import CsvBoxes
from episodes.labeled_image import LabeledImages

HEADER = "file,class,xmin,ymin,xmax,ymax\n"
LINES = "b.png,wren,2,3,7,8\na.png,auk,0,0,39,29\nb.png,wren,10,10,20,20\n"


def written(tmp_path, text):
    (tmp_path / "images").mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / name)
    (tmp_path / "annotations.csv").write_text(text, encoding="utf-8")
    return tmp_path


def test_one_line_per_box(tmp_path):
    images = CsvBoxes(written(tmp_path, HEADER + LINES))
    assert isinstance(images, LabeledImages)
    assert images.classes == ("auk", "wren")
    assert images.labels.tolist() == [1, 0]
    assert [path.name for path in images.paths] == ["b.png", "a.png"]
    assert images[0].boxes.tolist() == [[2, 3, 8, 9], [10, 10, 21, 21]]
    assert images[0].class_name == "wren"
    assert images[1].boxes.tolist() == [[0, 0, 40, 30]]


def test_classes_are_sorted(tmp_path):
    names = ["wren", "tern", "owl", "jay", "gull", "emu", "auk", "ani"]
    lines = "".join(f"{index}.png,{name},1,1,2,2\n" for index, name in enumerate(names))
    images = CsvBoxes(written(tmp_path, HEADER + lines))
    assert images.classes == tuple(sorted(names))
    assert images.labels.tolist() == list(range(8))[::-1]


def test_edges_that_are_edges_already(tmp_path):
    images = CsvBoxes(written(tmp_path, HEADER + LINES), inclusive=False)
    assert images[0].boxes.tolist() == [[2, 3, 7, 8], [10, 10, 20, 20]]


def test_columns_and_folders_are_chosen(tmp_path):
    root = written(tmp_path, "")
    (root / "boxes.csv").write_text(
        "\ufeffimage,id,name,xmin,ymin,xmax,ymax\na.png,n1,crane,1,1,2,2\nb.png,n2,crane,1,1,2,2\n"
    )
    by_name = CsvBoxes(root, table="boxes.csv", images="images", file="image", label="name")
    by_id = CsvBoxes(root, table="boxes.csv", images="images", file="image", label="id")
    assert (by_name.classes, by_id.classes) == (("crane",), ("n1", "n2"))


def test_a_missing_column_is_answered_with_the_near_ones(tmp_path):
    root = written(tmp_path, HEADER.replace("class", "klass") + LINES)
    with pytest.raises(LookupError, match=r"unknown column of .*annotations\.csv 'class'; did you mean 'klass'"):
        CsvBoxes(root)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HEADER, "lists no image"),
        (HEADER + "a.png,auk,1,2,x,4\n", "line 2: xmin, ymin, xmax and ymax should be numbers"),
        (HEADER + "a.png,auk,1,2\n", "line 2: xmin, ymin, xmax and ymax should be numbers"),
        (HEADER + "a.png,auk,1,1,2,2\na.png,wren,1,1,2,2\n", "line 3: a.png is 'wren' here and 'auk' above"),
    ],
)
def test_a_bad_table(tmp_path, text, fault):
    with pytest.raises(ValueError, match=rf"annotations\.csv.*{fault}"):
        CsvBoxes(written(tmp_path, text))


def test_a_missing_table(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotations\.csv does not exist"):
        CsvBoxes(tmp_path)


def test_a_box_outside_its_image(tmp_path):
    images = CsvBoxes(written(tmp_path, HEADER + "a.png,auk,1,2,50,4\n"))
    with pytest.raises(ValueError, match=r"a\.png: the box \(1, 2, 51, 5\) lies outside the image of 40x30 pixels"):
        images[0]


@pytest.mark.real
def test_photographs_of_tiny_imagenet(tiny_imagenet_boxes):
    images = CsvBoxes(tiny_imagenet_boxes, label="name")
    assert (len(images), len(images.classes)) == (1600, 40)
    assert np.bincount(images.labels).tolist() == [40] * 40
    assert len(CsvBoxes(tiny_imagenet_boxes, label="wnid").classes) == 40
    shares = []
    for labeled in images:
        left, top, right, bottom = labeled.boxes[0].tolist()
        assert 0 <= left < right <= 64
        assert 0 <= top < bottom <= 64
        shares.append(float(box_mask(labeled.boxes, 64, 64).float().mean()))
    assert min(shares) >= 0.08
    assert max(shares) <= 0.47
