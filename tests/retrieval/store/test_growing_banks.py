"""A data set that grew, appended to its bank: no image is in it twice, and none keeps the embedding of another."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow.parquet as pq
import pytest
import torch
from tiny_encoder import tiny_encoder

from episodes import DigitScenes, ImageFiles, ImageFolder
from retrieval_explain import MemoryBank
from retrieval_explain.store import writer as bank_writer
from retrieval_explain.store.building import append_images, build_on_disk
from retrieval_explain.store.entries import with_contents
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.read_rows import read_rows

ENCODER = tiny_encoder(dtype=torch.float32)


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        draw(tmp_path / "images" / "ab"[number % 2] / f"{number}.png", number)
    return tmp_path / "images"


@pytest.fixture
def bank(folder, tmp_path):
    build_on_disk(ENCODER, ImageFolder(folder), tmp_path / "bank")
    return tmp_path / "bank"


def appended(images, bank):
    return append_images(ENCODER, images, bank, batch_size=2)


def assert_is_of(bank, images):
    """Check that each row has the embedding of its own file as it is now, and that there is one for each image."""
    loaded, paths = MemoryBank.load(bank), [str(path) for path in images.paths]
    assert sorted(loaded.paths) == sorted(paths)
    for row, path in enumerate(loaded.paths):
        image = images[paths.index(path)]
        expected = ENCODER(ENCODER.preprocess([image.image])).embedding[0]
        torch.testing.assert_close(loaded.rows.read(row, row + 1)[0], expected)
        assert loaded.classes[loaded.labels[row]] == image.class_name


def test_only_what_is_new_is_added(folder, bank):
    draw(folder / "a" / "9.png", 9)
    grown = appended(ImageFolder(folder), bank)
    assert grown.sentence == "1 image added, 6 images left out, because the bank has them."
    assert_is_of(bank, ImageFolder(folder))
    assert MemoryBank.load(bank).ids.tolist() == list(range(7))
    version = open_bank(bank).version
    assert (
        appended(ImageFolder(folder), bank).sentence == "0 images added, 7 images left out, because the bank has them."
    )
    assert open_bank(bank).version == version


@pytest.mark.parametrize("spelling", ["relative", "dots", "link to the folder", "link to the files", "built relative"])
def test_a_file_is_the_same_however_its_path_is_spelled(folder, bank, tmp_path, monkeypatch, spelling):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    if spelling == "built relative":
        build_on_disk(ENCODER, ImageFolder("images"), bank)
        other = folder
    elif spelling == "link to the folder":
        other.symlink_to(folder)
    elif spelling == "link to the files":
        for path in ImageFolder(folder).paths:
            (other / path.parent.name).mkdir(parents=True, exist_ok=True)
            (other / path.parent.name / path.name).symlink_to(path)
    else:
        other = Path("images") if spelling == "relative" else folder / ".." / "." / "images"
    assert appended(ImageFolder(other), bank).known == 6
    assert len(MemoryBank.load(bank)) == 6


def test_a_photograph_that_was_replaced_is_embedded_again_in_its_row(folder, bank):
    before = MemoryBank.load(bank)
    draw(folder / "b" / "3.png", 33)
    draw(folder / "b" / "0.png", 30)
    grown = appended(ImageFolder(folder), bank)
    assert grown.sentence == (
        "1 image added, 5 images left out, because the bank has them, "
        "1 image embedded again, because their files have changed."
    )
    assert_is_of(bank, ImageFolder(folder))
    assert MemoryBank.load(bank).ids.tolist() == [*before.ids.tolist(), 6]


def test_a_folder_that_was_moved_keeps_its_embeddings(folder, bank, tmp_path):
    folder.rename(tmp_path / "moved")
    assert len(appended(ImageFolder(tmp_path / "moved"), bank).moved) == 6
    assert_is_of(bank, ImageFolder(tmp_path / "moved"))
    assert MemoryBank.load(bank).ids.tolist() == list(range(6))


def test_copies_are_added_and_said_and_labels_of_the_bank_stay(folder, bank, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert "6 images of those added are copies" in appended(ImageFolder(tmp_path / "copy"), bank).sentence
    assert len(MemoryBank.load(bank)) == 12
    assert appended(ImageFiles(folder), bank).other_labels == 0  # it gives none
    (tmp_path / "c").symlink_to(folder / "a")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "c").symlink_to(folder / "a")
    grown = appended(ImageFolder(tmp_path / "d"), bank)
    assert "3 images have another label in the bank, which stays" in grown.sentence
    assert MemoryBank.load(bank).classes == ("a", "b")


def test_images_without_a_file_are_known_by_their_pixels(tmp_path):
    small, large = (DigitScenes(part="novel", per_class=count, size=32) for count in (1, 2))
    build_on_disk(ENCODER, small, tmp_path / "bank")
    grown = appended(large, tmp_path / "bank")
    assert len(MemoryBank.load(tmp_path / "bank")) == len(small) + len(grown.new)
    assert appended(large, tmp_path / "bank").new == []


def test_a_bank_that_does_not_say_what_its_images_held_is_appended_to_by_path_alone(folder, tmp_path):
    images = ImageFolder(folder)
    made = MemoryBank.build(ENCODER, images)
    labels, paths = [made.classes[label] for label in made.labels], list(made.paths)
    MemoryBank.from_embeddings(made.rows.read(0, 6), labels, paths=paths, encoder=made.encoder).save(tmp_path / "bank")
    draw(folder / "a" / "9.png", 9)
    grown = appended(ImageFolder(folder), tmp_path / "bank")
    assert (len(grown.new), grown.known, grown.unread) == (1, 6, 6)
    assert "The bank does not say what 6 images held" in grown.sentence
    assert_is_of(tmp_path / "bank", ImageFolder(folder))


def test_a_bank_that_was_made_in_memory_knows_what_its_images_held(folder, tmp_path):
    MemoryBank.build(ENCODER, ImageFolder(folder)).save(tmp_path / "bank")
    draw(folder / "b" / "3.png", 33)
    grown = appended(ImageFolder(folder), tmp_path / "bank")
    assert (len(grown.replaced), grown.known, grown.unread) == (1, 5, 0)
    assert_is_of(tmp_path / "bank", ImageFolder(folder))


def test_a_table_of_rows_without_contents_is_read(bank):
    file = next(bank.glob("version-*/rows.parquet"))
    pq.write_table(pq.read_table(file).drop_columns(["content"]), file)
    table = read_rows(file, file.read_bytes(), None, "names")
    assert table.column_names == ["id", "label", "path", "content"]
    assert table["content"].null_count == 6
    assert read_rows(file, file.read_bytes(), ["content"], "names")["content"].null_count == 6


def test_a_build_is_not_resumed_over_photographs_that_were_replaced(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_writer, "PIECE_BYTES", 1)
    images, bank = ImageFolder(folder), tmp_path / "resumed"

    class Stops(ImageFolder):
        def __getitem__(self, position):
            if position == 4:
                raise KeyboardInterrupt
            return super().__getitem__(position)

    with pytest.raises(KeyboardInterrupt):
        build_on_disk(ENCODER, Stops(folder), bank, batch_size=2)
    data = images.paths[1].read_bytes()
    draw(images.paths[1], 77)
    with pytest.raises(
        ValueError, match=r"1 of 4 images that the unfinished build .* changed since, first .*a/2\.png of"
    ):
        build_on_disk(ENCODER, images, bank, resume=True)
    images.paths[1].write_bytes(data)
    build_on_disk(ENCODER, images, bank, resume=True)
    assert_is_of(bank, images)


def test_paths_that_no_file_can_have_stay_and_are_of_no_image(folder, tmp_path):
    made = MemoryBank.build(ENCODER, ImageFolder(folder))
    paths = ["a\0b", "x" * 5000, "/" + "y" * 300, "~", ".", ""]
    odd = MemoryBank.from_embeddings(made.rows.read(0, 6), list("ababab"), paths=paths, encoder=made.encoder)
    replace(odd, entries=with_contents(odd.entries, tuple(made.entries.contents))).save(tmp_path / "bank")
    grown = appended(ImageFolder(folder), tmp_path / "bank")
    assert (len(grown.moved), len(grown.new), grown.known) == (4, 2, 0)
