import numpy as np
import pytest
from image_sets import check_law, write_image, write_text
from PIL import Image

from episodes.datasets.cub import Cub200
from episodes.datasets.cub_parts import PartLocation

TABLES = {
    "classes.txt": "1 001.Auk\n2 002.Wren\n",
    "images.txt": "1 001.Auk/a.jpg\n2 002.Wren/b.jpg\n",
    "image_class_labels.txt": "1 1\n2 2\n",
    "bounding_boxes.txt": "1 1 1 5 5\n2 1 1 5 5\n",
    "train_test_split.txt": "1 0\n2 1\n",
    "parts/parts.txt": "1 back\n2 left eye\n",
    "parts/part_locs.txt": "1 1 3.0 4.5 1\n1 2 0.0 0.0 0\n2 1 1.0 2.0 1\n2 2 7.0 8.0 1\n",
}


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for name, text in TABLES.items():
        write_text(root / name, text)
    for name in ("001.Auk/a.jpg", "002.Wren/b.jpg"):
        write_image(root / "images" / name)
    return root


def write_votes(root, values=(0, 102, 127, 128, 255)):
    """Write one gray column per value."""
    levels = np.zeros((10, 12), dtype=np.uint8)
    levels[:, : len(values)] = values
    for name in ("001.Auk/a.png", "002.Wren/b.png"):
        (root / "segmentations" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(root / "segmentations" / name)


def test_the_parts_of_a_bird(official):
    birds = Cub200(official)
    assert birds.parts(0) == (PartLocation("back", 3.0, 4.5, True), PartLocation("left eye", 0.0, 0.0, False))
    assert birds.parts(1)[1] == PartLocation("left eye", 7.0, 8.0, True)


def test_the_parts_follow_the_half(official):
    assert Cub200(official, part="train").parts(0)[0].x == 1.0


def test_birds_open_without_parts(official):
    (official / "parts" / "part_locs.txt").unlink()
    birds = Cub200(official)
    check_law(birds)
    with pytest.raises(FileNotFoundError, match=r"part_locs\.txt does not exist; expected .* layout with parts"):
        birds.parts(0)


@pytest.mark.parametrize(
    ("table", "text", "error", "fault"),
    [
        ("parts.txt", "back\n", ValueError, r"parts\.txt, line 1: expected a number and the name of a part"),
        ("part_locs.txt", "1 1 3 4\n", ValueError, r"part_locs\.txt, line 1: expected 'image part x y visible'"),
        ("part_locs.txt", "1 1 3 4 1\n1 2 3 4 yes\n", ValueError, r"part_locs\.txt, line 2: .* got '1 2 3 4 yes'"),
        ("part_locs.txt", "1 9 3 4 1\n", ValueError, r"line 1: part 9 does not stand in parts\.txt"),
        ("part_locs.txt", "2 1 3 4 1\n", LookupError, r"part_locs\.txt has no line of image 1 \(a\.jpg\)"),
    ],
)
def test_bad_tables(official, table, text, error, fault):
    write_text(official / "parts" / table, text)
    with pytest.raises(error, match=fault):
        Cub200(official).parts(0)


@pytest.mark.parametrize("above", [False, True])
def test_the_majority_of_the_annotators_makes_the_mask(official, above):
    write_votes(official.parent if above else official)
    birds = Cub200(official.parent, segmentations=True)
    check_law(birds)
    assert birds[0].mask.any(dim=0).nonzero().flatten().tolist() == [3, 4]
    assert birds[0].boxes.tolist() == [[1, 1, 6, 6]]
    assert Cub200(official)[0].mask is None


def test_bad_segmentations(official):
    with pytest.raises(FileNotFoundError, match="segmentations does not exist; unpack"):
        Cub200(official, segmentations=True)
    write_votes(official)
    Image.new("L", (10, 12)).save(official / "segmentations" / "001.Auk" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has 10x12 pixels, but its image has 12x10"):
        Cub200(official, segmentations=True)[0]
    (official / "segmentations" / "001.Auk" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.png does not exist"):
        Cub200(official, segmentations=True)[0]
