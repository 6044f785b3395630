"""A bank of images that hold the same and have different labels: said once, with the count and the first pair."""

import shutil
import warnings

import PIL.Image
import pytest
from tiny_encoder import tiny_encoder

from episodes import CsvBoxes, ImageFolder, readable
from episodes.several_classes import SeveralClasses
from retrieval_explain import MemoryBank
from retrieval_explain.store.building import append_images

COLORS = {"a": (200, 10, 10), "b": (10, 200, 10), "c": (10, 10, 200)}


@pytest.fixture
def encoder():
    import torch

    return tiny_encoder(dtype=torch.float32)


@pytest.fixture
def table(tmp_path):
    """Three photographs in a table; a copy of the first and of the second under another class each."""
    (tmp_path / "table" / "images").mkdir(parents=True)
    lines = ["file,class,xmin,ymin,xmax,ymax"]
    for name, color in COLORS.items():
        PIL.Image.new("RGB", (8, 8), color).save(tmp_path / "table" / "images" / f"{name}.png")
        lines.append(f"{name}.png,bird,1,1,4,4")
    for name, other in (("a", "tern"), ("b", "wren"), ("c", "bird")):
        shutil.copy(tmp_path / f"table/images/{name}.png", tmp_path / f"table/images/{name}2.png")
        lines.append(f"{name}2.png,{other},1,1,4,4")
    (tmp_path / "table" / "annotations.csv").write_text("\n".join(lines) + "\n")
    return CsvBoxes(tmp_path / "table")


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_build_says_them_once(encoder, table, tmp_path, on_disk):
    sentence = r"2 images are of several classes, first .*a2\.png \(tern\), which holds the same as .*a\.png \(bird\)"
    with pytest.warns(SeveralClasses, match=sentence) as said:
        MemoryBank.build(encoder, table, directory=tmp_path / "bank" if on_disk else None)
    assert len(said) == 1


def folder_of(tmp_path):
    for name in ("bird", "tern"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        PIL.Image.new("RGB", (8, 8), COLORS["a"]).save(tmp_path / "folder" / name / f"{name}.png")
    return tmp_path / "folder"


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_folder_that_said_so_when_it_was_opened_says_no_more(encoder, tmp_path, on_disk):
    with pytest.warns(SeveralClasses) as said:
        MemoryBank.build(encoder, folder_of(tmp_path), directory=tmp_path / "bank" if on_disk else None)
    assert len(said) == 1


def test_nor_does_it_where_broken_images_were_left_out(encoder, tmp_path):
    (folder_of(tmp_path) / "bird" / "broken.png").write_bytes(b"broken")
    with pytest.warns(SeveralClasses) as said:
        MemoryBank.build(encoder, readable(ImageFolder(tmp_path / "folder")).images)
    assert len(said) == 1


def test_nothing_is_said_of_copies_within_a_class_or_without_labels(encoder, tmp_path):
    (tmp_path / "bird").mkdir()
    for number in range(2):
        PIL.Image.new("RGB", (8, 8), COLORS["a"]).save(tmp_path / "bird" / f"{number}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MemoryBank.build(encoder, tmp_path)
        MemoryBank.build(encoder, tmp_path / "bird", directory=tmp_path / "bank")


def test_copies_of_another_class_that_are_appended_are_said(encoder, table, tmp_path):
    MemoryBank.build(encoder, table, directory=tmp_path / "bank")
    grown = append_images(encoder, ImageFolder(folder_of(tmp_path)), tmp_path / "bank")
    assert len(grown.new) == 2
    wanted = "1 image of these have another class there, first "
    assert wanted in grown.sentence
    assert grown.of_other_classes[0][0].endswith("tern.png (tern)")
    assert grown.of_other_classes[0][1].endswith("a.png (bird)")
