import pytest
from image_sets import check_law, forbid_reading, write_image

from episodes.datasets import tiered_imagenet
from episodes.datasets.tiered_imagenet import TieredImageNet


@pytest.fixture
def official(tmp_path):
    for name in ("train/n02/b.jpg", "train/n02/a.jpg", "val/n01/c.jpg", "test/n03/d.jpg"):
        write_image(tmp_path / name)
    return tmp_path


def test_the_official_folders(official):
    photographs = TieredImageNet(official)
    check_law(photographs)
    assert (photographs.name, photographs.classes) == ("tiered-imagenet", ("n01", "n02", "n03"))
    assert photographs.labels.tolist() == [1, 1, 0, 2]
    assert [path.name for path in photographs.paths] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_one_part(official):
    photographs = TieredImageNet(official, part="val")
    assert (photographs.classes, photographs.name) == (("n01",), "tiered-imagenet val")
    with pytest.raises(LookupError, match="unknown part 'vall'; did you mean 'val'"):
        TieredImageNet(official, part="vall")


def test_opening_reads_no_image(official, monkeypatch):
    forbid_reading(monkeypatch, tiered_imagenet)
    assert len(TieredImageNet(official)) == 4


def test_missing_folders(official, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected the folders train, val, test in .*gone"):
        TieredImageNet(tmp_path / "gone")
    (official / "val" / "n01" / "c.jpg").unlink()
    with pytest.raises(ValueError, match=r"the class folder .*n01 holds no PNG, JPEG or WebP image"):
        TieredImageNet(official)


def test_a_class_in_two_parts(official):
    write_image(official / "val" / "n02" / "x.jpg")
    with pytest.raises(ValueError, match="class n02 stands in train and in val"):
        TieredImageNet(official)
