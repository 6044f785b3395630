import numpy as np
import pytest
from PIL import Image

from episodes.datasets.digit_scenes import DigitScenes
from episodes.labeled_image import LabeledImage, LabeledImages
from episodes.split import Split, select


class Birds:
    name = "birds"
    classes = ("ani", "auk", "tern", "wren")
    labels = np.array([2, 0, 1, 3, 2], dtype=np.int64)
    paths = (None,) * 5

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, position, /):
        label = int(self.labels[position])
        return LabeledImage(Image.new("RGB", (2, 2), (position, 0, 0)), label, self.classes[label])


def written(tmp_path, text, name="mine.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_built_in_split_is_that_of_the_embedded_data():
    split = Split.load("digit-scenes")
    assert set(split.base) == set(DigitScenes(part="base", per_class=1).classes)
    assert set(split.novel) == set(DigitScenes(part="novel", per_class=1).classes)
    assert (len(split.base), split.validation, len(split.novel)) == (16, (), 5)
    assert split.name == "digit-scenes"


def test_the_hash_of_the_built_in_split_is_pinned():
    """Results name the hash of their split; the file may not change under that name."""
    assert Split.load("digit-scenes").sha256[:16] == "e0d1d903f50d68a6"


def test_the_order_of_the_lines_changes_nothing(tmp_path):
    one = Split.load(written(tmp_path, "class,part\nauk,base\nani,base\nwren,novel\ntern,validation\n"))
    other = Split.load(written(tmp_path, "part,class\r\nvalidation,tern\r\nnovel,wren\r\nbase,ani\r\nbase,auk\r\n"))
    assert one == other
    assert one.sha256 == other.sha256
    assert (one.base, one.validation, one.novel) == (("ani", "auk"), ("tern",), ("wren",))


def test_another_part_is_another_hash():
    assert Split("a", ("ani",), (), ("auk",)).sha256 != Split("a", ("ani",), ("auk",), ()).sha256
    assert Split("a", ("ani",), (), ("auk",)).sha256 == Split("b", ("ani",), (), ("auk",)).sha256


@pytest.mark.parametrize("second", ["novel", "base"])
def test_a_class_in_two_parts_is_named(tmp_path, second):
    path = written(tmp_path, f"class,part\nauk,base\nani,base\nauk,{second}\n")
    with pytest.raises(ValueError, match=f"class 'auk' stands in base and in {second}"):
        Split.load(path)


def test_an_unknown_split_lists_the_near_ones():
    with pytest.raises(LookupError, match="unknown split 'digits-scenes'; did you mean 'digit-scenes'"):
        Split.load("digits-scenes")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class\nauk\n", "should have the columns class and part, but has"),
        ("", "should have the columns class and part, but has none"),
        ("class,part\nauk,train\n", "class 'auk' has the part 'train'; write base, validation or novel"),
        ("class,part\nauk\n", "class 'auk' has the part None"),
    ],
)
def test_a_bad_split_file(tmp_path, text, fault):
    with pytest.raises(ValueError, match=rf"mine\.csv.* {fault}"):
        Split.load(written(tmp_path, text))


def test_a_missing_split_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv does not exist"):
        Split.load(tmp_path / "gone.csv")


def test_an_unknown_part():
    with pytest.raises(LookupError, match="unknown part of a split 'nowel'; did you mean 'novel'"):
        Split("a", ("ani",), (), ()).classes("nowel")


def test_selected_classes_are_relabeled_in_the_given_order():
    chosen = select(Birds(), ["wren", "tern"])
    assert isinstance(chosen, LabeledImages)
    assert chosen.classes == ("wren", "tern")
    assert chosen.labels.tolist() == [1, 0, 1]
    assert len(chosen.paths) == len(chosen) == 3
    assert [chosen[i].image.getpixel((0, 0))[0] for i in range(3)] == [0, 3, 4]
    assert [(chosen[i].label, chosen[i].class_name) for i in range(3)] == [(1, "tern"), (0, "wren"), (1, "tern")]


def test_a_selection_can_be_selected_from():
    chosen = select(select(Birds(), ["wren", "tern", "ani"]), ["ani", "wren"])
    assert chosen.labels.tolist() == [0, 1]
    assert [chosen[i].class_name for i in range(2)] == ["ani", "wren"]


def test_missing_classes_are_named():
    with pytest.raises(LookupError, match="unknown class of birds 'ternn'; did you mean 'tern'"):
        select(Birds(), ["ani", "ternn"])
    with pytest.raises(LookupError, match=r"birds lacks 2 of 3 classes: gull, owl\."):
        select(Birds(), ["ani", "gull", "owl"])


def test_a_class_twice_or_none():
    with pytest.raises(ValueError, match="expected every class once, but got ani twice"):
        select(Birds(), ["ani", "ani"])
    with pytest.raises(ValueError, match="but got none"):
        select(Birds(), [])
