import numpy as np
import pytest
from image_sets import check_law, forbid_reading, write_image, write_text
from PIL import Image

from episodes.datasets import imagenet_s
from episodes.datasets.imagenet_s import ImageNetS

# Category 300 needs both channels; 1 and 2 are its neighbors in the list.
WNIDS = [f"n{number:08d}" for number in range(1, 301)]
FIRST, SECOND, LAST = WNIDS[0], WNIDS[1], WNIDS[299]


def write_mask(root, wnid, stem, rows, part="validation"):
    """Write rows of category numbers, each 12 pixels wide, as red + 256·green."""
    numbers = np.repeat(np.array(rows, dtype=np.uint16)[:, None], 12, axis=1)
    pixels = np.stack([numbers % 256, numbers // 256, np.zeros_like(numbers)], axis=-1).astype(np.uint8)
    path = root / f"{part}-segmentation" / wnid / f"{stem}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    write_image(root / part / wnid / f"{stem}.JPEG", size=(12, len(rows)))


@pytest.fixture
def official(tmp_path):
    root = tmp_path / "ImageNetS300"
    write_mask(root, FIRST, "a", [0, 1, 1, 0, 1000, 0, 0, 0, 0, 0])
    write_mask(root, FIRST, "b", [0, 1, 2, 0, 0, 0, 0, 0, 0, 0])
    write_mask(root, FIRST, "c", [0, 2, 2, 0, 0, 0, 0, 0, 0, 0])
    write_mask(root, LAST, "d", [300, 300, 44, 0, 0, 0, 0, 0, 0, 0])
    write_mask(root, LAST, "e", [300] * 10)
    write_text(tmp_path / "im300.txt", "\n".join(reversed(WNIDS)) + "\n")
    return root


def opened(root, **options):
    return ImageNetS(root, categories=root.parent / "im300.txt", **options)


def test_image_and_mask_of_its_own_class(official):
    photographs = opened(official)
    check_law(photographs)
    assert photographs.classes == (FIRST, LAST)
    assert [path.name for path in photographs.paths] == ["a.JPEG", "b.JPEG", "c.JPEG", "d.JPEG", "e.JPEG"]
    assert photographs[0].mask.any(dim=1).tolist() == [row in (1, 2) for row in range(10)]
    assert photographs[0].boxes.tolist() == [[0, 1, 12, 3]]
    assert photographs[1].mask.any(dim=1).nonzero().flatten().tolist() == [1]
    assert photographs[3].mask.any(dim=1).nonzero().flatten().tolist() == [0, 1]


def test_a_mask_without_its_class_has_no_box(official):
    labeled = opened(official)[2]
    assert labeled.boxes is None
    assert not labeled.mask.any()


def test_a_single_category_is_the_class_and_no_other(official):
    photographs = opened(official, single_category=True)
    check_law(photographs)
    assert [path.name for path in photographs.paths] == ["a.JPEG", "e.JPEG"]
    assert photographs.labels.tolist() == [0, 1]
    assert photographs.name == "imagenet-s300 validation single-category"


def test_opening_reads_no_image_and_without_the_filter_no_mask(official, monkeypatch):
    forbid_reading(monkeypatch, imagenet_s)
    assert len(opened(official, single_category=True)) == 2
    monkeypatch.setattr(imagenet_s, "two_byte_categories", lambda path: pytest.fail(f"{path} was read"))
    assert len(opened(official)) == 5


def test_all_class_folders_need_no_list(tmp_path):
    for wnid in WNIDS[:50]:
        write_mask(tmp_path, wnid, "x", [WNIDS.index(wnid) + 1])
    photographs = ImageNetS(tmp_path)
    assert (len(photographs.classes), photographs.name) == (50, "imagenet-s50 validation")
    assert photographs[49].mask.all()


def test_the_masked_training_images(official):
    write_mask(official, SECOND, "t", [2, 0], part="train-semi")
    assert [path.name for path in opened(official, part="train-semi").paths] == ["t.JPEG"]
    with pytest.raises(LookupError, match="unknown part of ImageNet-S 'valid'; did you mean 'validation'"):
        ImageNetS(official, part="valid")


def test_an_incomplete_subset_would_count_wrongly(official):
    with pytest.raises(ValueError, match=r"validation-segmentation holds 2 class folders; expected 50, 300 or 919"):
        ImageNetS(official)


def test_missing_folders_and_files(official, tmp_path):
    with pytest.raises(FileNotFoundError, match="validation-segmentation does not exist"):
        ImageNetS(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"the list of categories .*none\.txt does not exist"):
        ImageNetS(official, categories=tmp_path / "none.txt")
    (official / "validation" / FIRST / "a.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"the image .*a\.JPEG does not exist"):
        opened(official)[0]


def test_a_list_of_another_subset(official):
    write_text(official.parent / "im300.txt", FIRST)
    with pytest.raises(ValueError, match=rf"validation-segmentation holds the class {LAST}, which .*im300\.txt lacks"):
        opened(official)


def test_a_mask_of_another_size(official):
    write_image(official / "validation" / FIRST / "a.JPEG", size=(10, 12))
    with pytest.raises(ValueError, match=r"a\.png has 12x10 pixels, but its image has 10x12"):
        opened(official)[0]


def test_a_mask_of_another_subset(official):
    write_mask(official, FIRST, "a", [301] * 10)
    for read in (lambda: opened(official)[0], lambda: opened(official, single_category=True)):
        with pytest.raises(ValueError, match=r"a\.png holds the category 301, but there are 300"):
            read()


def test_a_mask_of_one_channel(official):
    Image.new("L", (12, 10)).save(official / "validation-segmentation" / FIRST / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has the shape \(10, 12\); expected three channels"):
        opened(official)[0]


def test_nothing_is_left(official):
    for stem in ("a", "e"):
        write_mask(official, FIRST if stem == "a" else LAST, stem, [0] * 10)
    with pytest.raises(ValueError, match="shows its own class alone; drop single_category"):
        opened(official, single_category=True)
