import pytest
from image_sets import check_law, forbid_reading, write_image, write_text

from episodes.datasets import mini_imagenet
from episodes.datasets.mini_imagenet import MiniImageNet
from episodes.split import Split, select

TABLES = {
    "train.csv": "filename,label\nn0200000200000001.jpg,n02000002\nn0100000100000009.jpg,n01000001\n",
    "val.csv": "filename,label\nn0300000300000001.jpg,n03000003\n",
    "test.csv": "filename,label\nn0050000500000002.jpg,n00500005\nn0050000500000001.jpg,n00500005\n",
}


@pytest.fixture
def tables(tmp_path):
    for name, text in TABLES.items():
        write_text(tmp_path / name, text)
        for line in text.splitlines()[1:]:
            write_image(tmp_path / "images" / line.split(",")[0])
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    for name in ("train/n02/b.jpg", "train/n02/a.JPEG", "train/n01/c.jpg", "val/n03/d.jpg", "test/n005/e.jpg"):
        write_image(tmp_path / name)
    return tmp_path


def test_the_tables_of_ravi_and_larochelle(tables):
    photographs = MiniImageNet(tables)
    check_law(photographs)
    assert photographs.classes == ("n00500005", "n01000001", "n02000002", "n03000003")
    assert photographs.labels.tolist() == [2, 1, 3, 0, 0]
    assert [path.name[-5:] for path in photographs.paths] == ["1.jpg", "9.jpg", "1.jpg", "2.jpg", "1.jpg"]


def test_the_folders_of_parts(folders):
    photographs = MiniImageNet(folders)
    check_law(photographs)
    assert photographs.classes == ("n005", "n01", "n02", "n03")
    assert [path.name for path in photographs.paths] == ["c.jpg", "a.JPEG", "b.jpg", "d.jpg", "e.jpg"]


def test_opening_reads_no_image(tables, monkeypatch):
    forbid_reading(monkeypatch, mini_imagenet)
    photographs = MiniImageNet(tables)
    with pytest.raises(AssertionError, match="was read"):
        photographs[0]


def test_one_part(tables):
    assert [path.name[-5:] for path in MiniImageNet(tables, part="test").paths] == ["2.jpg", "1.jpg"]
    assert MiniImageNet(tables, part="test").name == "mini-imagenet test"
    with pytest.raises(LookupError, match="unknown part 'tests'; did you mean 'test'"):
        MiniImageNet(tables, part="tests")


def test_a_part_that_is_not_there(tables):
    (tables / "val.csv").unlink()
    assert len(MiniImageNet(tables)) == 4
    with pytest.raises(FileNotFoundError, match=r"expected the table .*val\.csv, but found none"):
        MiniImageNet(tables, part="val")


def test_a_root_without_tables_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected train\.csv, val\.csv and test\.csv, or the folders train"):
        MiniImageNet(tmp_path)


def test_a_missing_image_is_named_when_it_is_read(tables):
    (tables / "images" / "n0100000100000009.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"n0100000100000009\.jpg does not exist"):
        MiniImageNet(tables)[1]


@pytest.mark.parametrize(
    ("text", "error", "fault"),
    [
        ("file,label\na.jpg,n1\n", LookupError, r"unknown column of .*train\.csv 'filename'; did you mean 'file'"),
        ("filename,label\n", ValueError, r"train\.csv lists no image"),
        (
            "filename,label\na.jpg\n",
            ValueError,
            r"train\.csv, line 2: expected filename,label, but got",
        ),
        ("filename,label\na.jpg,n1\na.jpg,n2\n", ValueError, r"line 3: a\.jpg stands in line 2 already"),
        ("filename,label\na.jpg,n03000003\n", ValueError, "class n03000003 stands in train and in val"),
    ],
)
def test_a_bad_table(tables, text, error, fault):
    write_text(tables / "train.csv", text)
    with pytest.raises(error, match=fault):
        MiniImageNet(tables)


def test_a_class_in_two_folders(folders):
    write_image(folders / "test" / "n02" / "x.jpg")
    with pytest.raises(ValueError, match="class n02 stands in train and in test"):
        MiniImageNet(folders)


def test_the_named_split_selects_the_parts(tmp_path):
    split = Split.load("mini-imagenet")
    for part, folder in (("base", "train"), ("validation", "val"), ("novel", "test")):
        for class_name in split.classes(part):
            write_image(tmp_path / folder / class_name / "a.jpg", size=(2, 2))
    photographs = MiniImageNet(tmp_path)
    assert len(photographs.classes) == 100
    assert {path.parts[-3] for path in select(photographs, split.novel).paths} == {"test"}
