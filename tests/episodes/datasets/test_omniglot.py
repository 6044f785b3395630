import numpy as np
import pytest
from image_sets import check_law, forbid_reading, write_image
from PIL import Image
from torchvision import datasets

from episodes.datasets import omniglot
from episodes.datasets.omniglot import Omniglot

CHARACTERS = ("background/Greek/character01", "background/Greek/character02", "evaluation/ULOG/character01")


@pytest.fixture
def official(tmp_path):
    """Two drawings a character, white but for one black corner."""
    home = tmp_path / "omniglot-py"
    for number, place in enumerate(CHARACTERS):
        for drawing in (2, 1):
            path = home / f"images_{place}" / f"{number:04d}_{drawing:02d}.png"
            write_image(path)
            levels = np.ones((6, 6), dtype=bool)
            levels[0, : drawing + number] = False
            Image.fromarray(levels).save(path)
    return tmp_path


def test_characters_of_alphabets_are_the_classes(official):
    drawings = Omniglot(official)
    check_law(drawings)
    assert drawings.classes == ("Greek/character01", "Greek/character02", "ULOG/character01")
    assert drawings.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [path.name for path in drawings.paths[:2]] == ["0000_01.png", "0000_02.png"]
    assert len(Omniglot(official / "omniglot-py")) == 6


def test_one_part(official):
    assert Omniglot(official, part="evaluation").classes == ("ULOG/character01",)
    with pytest.raises(LookupError, match="unknown part of Omniglot 'evaluate'; did you mean 'evaluation'"):
        Omniglot(official, part="evaluate")


@pytest.mark.parametrize("part", ["background", "evaluation"])
def test_the_drawings_are_those_of_torchvision(official, part, monkeypatch):
    monkeypatch.setattr(datasets.Omniglot, "_check_integrity", lambda _: True)
    theirs, ours = datasets.Omniglot(official, background=part == "background"), Omniglot(official, part=part)
    assert len(theirs) == len(ours)
    position_of = {name: position for position, (name, _) in enumerate(theirs._flat_character_images)}
    for labeled in ours:
        picture, label = theirs[position_of[labeled.path.name]]
        assert theirs._characters[label] == labeled.class_name
        assert np.array_equal(np.asarray(picture), np.asarray(labeled.image)[..., 0])


def test_turned_characters_are_classes_of_their_own(official):
    upright, turned = Omniglot(official), Omniglot(official, rotations=True)
    check_law(turned)
    assert (len(turned.classes), len(turned)) == (12, 24)
    assert turned.classes[:3] == upright.classes
    assert turned.classes[3] == "Greek/character01 turned 90°"
    for quarter in range(4):
        labeled = turned[6 * quarter + 5]
        assert labeled.class_name.startswith("ULOG/character01")
        assert np.array_equal(np.asarray(labeled.image), np.rot90(np.asarray(upright[5].image), quarter))


def test_opening_reads_no_image(official, monkeypatch):
    forbid_reading(monkeypatch, omniglot)
    assert len(Omniglot(official)) == 6


def test_missing_folders(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected images_background or images_evaluation in .*gone"):
        Omniglot(tmp_path / "gone")
    for path in (official / "omniglot-py" / "images_evaluation" / "ULOG" / "character01").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="character01 holds no PNG, JPEG or WebP image"):
        Omniglot(official)
