import numpy as np
import pytest
from PIL import Image

from episodes.annotation import box_mask
from episodes.datasets.cub import Cub200
from episodes.labeled_image import LabeledImages

TABLES = {
    "classes.txt": "2 002.Auk\n10 010.Wren\n",
    "images.txt": "1 010.Wren/a.jpg\n2 002.Auk/b.jpg\n5 010.Wren/c.jpg\n",
    "image_class_labels.txt": "1 10\n2 2\n5 10\n",
    "bounding_boxes.txt": "1 4.0 6.0 10.0 8.0\n2 0.0 0.0 40.5 30.0\n5 1.0 1.0 5.0 5.0\n",
    "train_test_split.txt": "1 1\n2 0\n5 1\n",
}


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for line in TABLES["images.txt"].splitlines():
        path = root / "images" / line.split()[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)
    for name, text in TABLES.items():
        (root / name).write_text(text)
    return root


def test_the_official_layout(official):
    birds = Cub200(official)
    assert isinstance(birds, LabeledImages)
    assert birds.classes == ("002.Auk", "010.Wren")
    assert birds.labels.tolist() == [1, 0, 1]
    assert [path.name for path in birds.paths] == ["a.jpg", "b.jpg", "c.jpg"]
    assert birds[0].class_name == "010.Wren"
    assert birds[0].boxes.tolist() == [[4, 6, 14, 14]]
    assert birds[1].boxes.tolist() == [[0, 0, 40, 30]]


def test_the_folder_above_and_the_parts(official):
    assert len(Cub200(official.parent)) == 3
    assert [path.name for path in Cub200(official, part="train").paths] == ["a.jpg", "c.jpg"]
    assert [path.name for path in Cub200(official, part="test").paths] == ["b.jpg"]
    with pytest.raises(LookupError, match="unknown part of CUB-200-2011 'trian'; did you mean 'train'"):
        Cub200(official, part="trian")


@pytest.mark.parametrize(
    "table", ["images.txt", "image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"]
)
def test_tables_that_disagree(official, table):
    (official / table).write_text("".join(TABLES[table].splitlines(keepends=True)[:2]))
    lacks = rf"image 5 stands in .* but not in {table}"
    with pytest.raises(ValueError, match=f"the tables disagree: {lacks}"):
        Cub200(official, part="train")


def test_a_class_that_is_not_listed(official):
    (official / "classes.txt").write_text("2 002.Auk\n")
    with pytest.raises(ValueError, match=r"image_class_labels\.txt names class 10, which classes\.txt lacks"):
        Cub200(official)


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table(official, table):
    (official / table).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{table} does not exist; expected CUB-200-2011's official layout"):
        Cub200(official, part="test")


@pytest.mark.parametrize(
    ("table", "text", "fault"),
    [
        ("images.txt", "one a.jpg\n", "line 1: expected a number and a value, got 'one a.jpg'"),
        ("images.txt", "1 a.jpg\n1 b.jpg\n", "line 2: id 1 stands twice"),
        ("bounding_boxes.txt", "1 4 6 10\n2 0 0 4 3\n5 1 1 5 5\n", "image 1 should have x, y, width and height"),
        ("bounding_boxes.txt", "1 4 6 10 x\n2 0 0 4 3\n5 1 1 5 5\n", "image 1 should have x, y, width and height"),
    ],
)
def test_a_line_that_cannot_be_read(official, table, text, fault):
    (official / table).write_text(text)
    with pytest.raises(ValueError, match=rf"{table}.*{fault}"):
        Cub200(official)


def test_a_missing_root_and_image(official, tmp_path):
    (tmp_path / "text").write_text("x")
    with pytest.raises(FileNotFoundError, match="text is a file; check the path"):
        Cub200(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        Cub200(tmp_path / "gone")
    (official / "images" / "002.Auk" / "b.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.jpg does not exist"):
        Cub200(official)[1]


def test_a_box_outside_its_image(official):
    (official / "bounding_boxes.txt").write_text("1 4 6 100 8\n2 0 0 4 3\n5 1 1 5 5\n")
    with pytest.raises(ValueError, match=r"a\.jpg: the box \(4, 6, 104, 14\) lies outside the image of 40x30 pixels"):
        Cub200(official)[0]


@pytest.mark.real
def test_the_first_ten_species(cub10):
    birds = Cub200(cub10)
    assert (len(birds), len(birds.classes), birds.classes[9]) == (543, 10, "010.Red_winged_Blackbird")
    assert len(Cub200(cub10, part="train")) + len(Cub200(cub10, part="test")) == 543
    assert all(path.parent.name == birds.classes[label] for path, label in zip(birds.paths, birds.labels, strict=True))
    covered = []
    for labeled in birds:
        width, height = labeled.image.size
        left, top, right, bottom = labeled.boxes[0].tolist()
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered.append(bool(box_mask(labeled.boxes, height, width)[0, height // 2, width // 2]))
    assert 0.9 < np.mean(covered) < 1
