import numpy as np
import pytest
import torch
from PIL import Image

from episodes.annotation import mask_box
from episodes.datasets.oxford_pet import OxfordPet
from episodes.labeled_image import LabeledImages

LIST = "#Image CLASS-ID SPECIES BREED ID\nBengal_2 6 1 2\nAbyssinian_10 1 1 1\namerican_bulldog_3 2 2 1\n"


@pytest.fixture
def official(tmp_path):
    """A trimap of pet (1) in the columns 4 to 7, border (3) one pixel around it, background (2) elsewhere."""
    (tmp_path / "annotations" / "trimaps").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations" / "list.txt").write_text(LIST)
    trimap = np.full((10, 12), 2, dtype=np.uint8)
    trimap[2:8, 3:9] = 3
    trimap[3:7, 4:8] = 1
    for stem in ("Bengal_2", "Abyssinian_10", "american_bulldog_3"):
        Image.new("RGB", (12, 10)).save(tmp_path / "images" / f"{stem}.jpg")
        Image.fromarray(trimap).save(tmp_path / "annotations" / "trimaps" / f"{stem}.png")
    return tmp_path


def test_classes_follow_the_official_ids(official):
    pets = OxfordPet(official)
    assert isinstance(pets, LabeledImages)
    assert pets.classes == ("Abyssinian", "american_bulldog", "Bengal")
    assert pets.labels.tolist() == [2, 0, 1]
    assert [path.name for path in pets.paths] == ["Bengal_2.jpg", "Abyssinian_10.jpg", "american_bulldog_3.jpg"]


@pytest.mark.parametrize(("border", "box"), [("object", [3, 2, 9, 8]), ("background", [4, 3, 8, 7])])
def test_the_border_is_one_or_the_other(official, border, box):
    labeled = OxfordPet(official, border=border)[0]
    assert labeled.boxes.tolist() == [box]
    assert labeled.mask.sum() == (box[2] - box[0]) * (box[3] - box[1])
    assert labeled.mask.dtype == torch.bool
    assert (labeled.label, labeled.class_name) == (2, "Bengal")


def test_a_trimap_without_pet_has_no_box(official):
    Image.fromarray(np.full((10, 12), 2, dtype=np.uint8)).save(official / "annotations" / "trimaps" / "Bengal_2.png")
    labeled = OxfordPet(official)[0]
    assert labeled.boxes is None
    assert not labeled.mask.any()


@pytest.mark.parametrize(
    ("trimap", "fault"),
    [
        (np.full((10, 10), 2, dtype=np.uint8), r"has the shape \(10, 10\), but its image has 12x10 pixels"),
        (np.full((10, 12), 7, dtype=np.uint8), r"holds the value 7; expected 1 \(pet\), 2 \(background\)"),
        (np.full((10, 12, 3), 2, dtype=np.uint8), r"has the shape \(10, 12, 3\)"),
    ],
)
def test_a_bad_trimap(official, trimap, fault):
    Image.fromarray(trimap).save(official / "annotations" / "trimaps" / "Bengal_2.png")
    with pytest.raises(ValueError, match=rf"Bengal_2\.png {fault}"):
        OxfordPet(official)[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Bengal_2 6 1\n", "line 1: expected 'image class-id species breed-id', got 'Bengal_2 6 1'"),
        ("\n", "line 1: expected 'image class-id"),
        ("Bengal_2 6 1 2\nSphynx_1 6 1 2\n", "line 2: class 6 is 'Sphynx' here and 'Bengal' above"),
    ],
)
def test_a_bad_list(official, text, fault):
    (official / "annotations" / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=rf"list\.txt, {fault}"):
        OxfordPet(official)


def test_missing_files(official, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"list\.txt does not exist; expected Oxford-IIIT Pet's official layout"
    ):
        OxfordPet(tmp_path / "gone")
    (official / "annotations" / "trimaps" / "Bengal_2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Bengal_2\.png does not exist"):
        OxfordPet(official)[0]


def test_an_unknown_border(official):
    with pytest.raises(LookupError, match="unknown reading of the border 'objekt'; did you mean 'object'"):
        OxfordPet(official, border="objekt")


@pytest.mark.real
def test_three_breeds(pets):
    """600 photographs are there, 598 of them in the list: the other two are no JPEG, and one is a GIF."""
    breeds = OxfordPet(pets)
    assert breeds.classes == ("Abyssinian", "american_bulldog", "Bengal")
    assert np.bincount(breeds.labels).tolist() == [198, 200, 200]
    smaller = OxfordPet(pets, border="background")
    for position in range(0, len(breeds), 12):
        labeled, inner = breeds[position], smaller[position]
        assert labeled.mask.shape == (labeled.image.height, labeled.image.width)
        assert torch.equal(labeled.boxes, mask_box(labeled.mask[None]))
        assert not (inner.mask & ~labeled.mask).any()
        assert 0.01 < labeled.mask.float().mean() < 0.98
