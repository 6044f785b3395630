"""Banks built from images on disk: equal to those in memory, resumed, appended to, and never of two encoders."""

import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.numpy import load_file
from small_banks import NEW, interrupted
from tiny_encoder import tiny_encoder

from episodes import DigitScenes, ImageFiles, ImageFolder
from retrieval_explain import MemoryBank
from retrieval_explain.store import versions as bank_versions
from retrieval_explain.store import writer as bank_writer
from retrieval_explain.store.building import append_images, build_on_disk
from retrieval_explain.store.encoder_fingerprint import described
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

ENCODER = tiny_encoder()


class StopsAt:
    """A data set whose reading is interrupted at one image."""

    def __init__(self, images, position):
        self.images, self.position, self.read = images, position, []
        self.name, self.classes, self.labels, self.paths = images.name, images.classes, images.labels, images.paths

    def __len__(self):
        return len(self.images)

    def __getitem__(self, position):
        self.read.append(position)
        if position == self.position:
            raise KeyboardInterrupt
        return self.images[position]


class NoImages(StopsAt):
    def __len__(self):
        return 0


@pytest.fixture
def folder(tmp_path):
    """Ten images of two classes."""
    for number in range(10):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        PIL.Image.fromarray(colors).save(path)
    return tmp_path / "images"


def assert_same(bank, other):
    assert torch.equal(bank.rows.read(0, len(bank)), other.rows.read(0, len(other)))
    assert torch.equal(bank.labels, other.labels)
    assert torch.equal(bank.ids, other.ids)
    assert (bank.classes, list(bank.paths)) == (other.classes, list(other.paths))
    assert (bank.encoder, bank.preprocessing, bank.similarity) == (other.encoder, other.preprocessing, other.similarity)


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_a_bank_on_disk_is_the_bank_in_memory(folder, tmp_path, similarity):
    told = []
    images = ImageFolder(folder)
    memory = MemoryBank.build(ENCODER, images, similarity=similarity, batch_size=4)
    stored = MemoryBank.build(
        ENCODER,
        images,
        similarity=similarity,
        batch_size=4,
        report=lambda *parts: told.append(parts),
        directory=tmp_path / "bank",
    )
    assert_same(stored, memory)
    assert told == [("embed", 0, 10), ("embed", 4, 10), ("embed", 4, 10), ("embed", 2, 10)]
    assert stored.directory == tmp_path / "bank"
    assert stored.classes == ("a", "b")
    assert stored.paths[5] == str(folder / "b" / "1.png")
    memory.save(tmp_path / "saved")
    assert_same(MemoryBank.load(tmp_path / "saved"), memory)
    expected = ENCODER(ENCODER.preprocess([images[7].image])).embedding.float()
    torch.testing.assert_close(stored.rows.take(torch.tensor([7])), expected)


def test_half_precision_is_rounded_once(folder, tmp_path):
    memory = MemoryBank.build(ENCODER, ImageFolder(folder))
    memory.save(tmp_path / "half", dtype="float16")
    half = MemoryBank.load(tmp_path / "half")
    assert torch.equal(half.rows.read(0, 10), memory.rows.read(0, 10).half().float())
    (file,) = (tmp_path / "half").glob("version-*/embeddings.safetensors")
    assert load_file(file)["embeddings"].dtype == np.float16
    with pytest.raises(ValueError, match="dtype float32 or float16 for a bank, but got 'float8'"):
        memory.save(tmp_path / "half", dtype="float8")


def test_an_interrupted_build_goes_on_at_the_first_image_that_is_not_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_writer, "PIECE_BYTES", 1)
    images, told = ImageFolder(folder), []
    with pytest.raises(KeyboardInterrupt):
        MemoryBank.build(ENCODER, StopsAt(images, 7), batch_size=2, directory=tmp_path / "bank")
    assert not (tmp_path / "bank" / "CURRENT").exists()
    rest = StopsAt(images, -1)
    resumed = MemoryBank.build(
        ENCODER,
        rest,
        similarity="cosine",
        batch_size=2,
        report=lambda *parts: told.append(parts[1:]),
        directory=tmp_path / "bank",
        resume=True,
    )
    assert_same(resumed, MemoryBank.build(ENCODER, images))
    assert told == [(6, 10), (2, 10), (2, 10)]
    assert sorted(rest.read) == [0, 6, 7, 8, 9]


def test_a_resumed_build_has_the_images_it_was_begun_with(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(bank_writer, "PIECE_BYTES", 1)
    bank = tmp_path / "bank"
    with pytest.raises(KeyboardInterrupt):
        build_on_disk(ENCODER, StopsAt(ImageFolder(folder), 8), bank, batch_size=2)
    (folder / "b" / "3.png").rename(folder / "b" / "2.png")
    with pytest.raises(ValueError, match=r"has .*b/3\.png of class b as image 6, but the data set has .*b/2\.png of"):
        build_on_disk(ENCODER, ImageFolder(folder), bank, resume=True)
    (folder / "b" / "2.png").rename(folder / "b" / "3.png")
    with pytest.raises(ValueError, match=r"has .*0\.png of class a as image 0, but the data set has .*0\.png;"):
        build_on_disk(ENCODER, ImageFiles(folder), bank, resume=True)
    for number in range(2, 10):
        (folder / "ab"[number % 2] / f"{number}.png").unlink()
    with pytest.raises(
        ValueError, match=r"has .*2\.png of class a as image 1, but the data set has .*1\.png of class b"
    ):
        build_on_disk(ENCODER, ImageFolder(folder), bank, resume=True)
    (folder / "b" / "1.png").rename(folder / "a" / "2.png")
    (folder / "b").rmdir()
    with pytest.raises(ValueError, match=r"has .*4\.png of class a as image 2, but the data set has none; go on with"):
        build_on_disk(ENCODER, ImageFolder(folder), bank, resume=True)
    with pytest.raises(ValueError, match=r"has encoder '.*', but '.*' is asked for"):
        build_on_disk(tiny_encoder(pooling="gmp"), ImageFolder(folder), bank, resume=True)


def test_a_resumed_build_needs_room_for_the_rest_only(tmp_path, monkeypatch):
    interrupted(tmp_path, expected_rows=20)
    usage = bank_versions.shutil._ntuple_diskusage
    monkeypatch.setattr(bank_versions.shutil, "disk_usage", lambda _path: usage(10_000, 9_700, 300))
    with BankWriter(tmp_path, 4, resume=True, expected_rows=20) as writer:
        writer.add(NEW[11:])
    assert len(open_bank(tmp_path)) == 20
    with pytest.raises(OSError, match="MB free"), BankWriter(tmp_path, 4, expected_rows=20):
        pass


def test_images_are_added_behind_the_others(folder, tmp_path):
    build_on_disk(ENCODER, ImageFolder(folder), tmp_path / "bank")
    copied = tmp_path / "others"
    shutil.copytree(folder / "b", copied)
    append_images(ENCODER, ImageFiles(copied), tmp_path / "bank", batch_size=2)
    bank = MemoryBank.load(tmp_path / "bank")
    assert (len(bank), bank.ids[-1], bank.labels[-1], bank.paths[10]) == (15, 14, -1, str(copied / "1.png"))
    torch.testing.assert_close(bank.rows.read(10, 15), bank.rows.read(5, 10))
    with pytest.raises(ValueError, match=r"the bank was built with encoder '.*', but '.*' is given; use the former"):
        append_images(tiny_encoder(pooling="gmp"), ImageFolder(folder), tmp_path / "bank")
    assert len(MemoryBank.load(tmp_path / "bank")) == 15


def test_an_image_without_a_similarity_is_named(folder, tmp_path):
    dead = torch.nn.Linear(4, 3)
    torch.nn.init.zeros_(dead.weight)
    torch.nn.init.zeros_(dead.bias)
    with pytest.raises(ValueError, match=r"^4 of 4 embeddings are zero or not finite, first .*a/0\.png\. They have no"):
        build_on_disk(tiny_encoder(dead), ImageFolder(folder), tmp_path / "bank", batch_size=4)
    (folder / "a" / "4.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"4\.png is not a PNG, JPEG or WebP image"):
        build_on_disk(ENCODER, ImageFolder(folder), tmp_path / "bank", batch_size=4)


def test_a_data_set_without_images_and_an_unknown_similarity_are_refused(tmp_path):
    empty = NoImages(DigitScenes(part="novel", per_class=1, size=32), -1)
    with pytest.raises(ValueError, match="at least one image"):
        MemoryBank.build(ENCODER, empty)
    with pytest.raises(ValueError, match="a data set of at least one image, but it is empty"):
        MemoryBank.build(ENCODER, empty, directory=tmp_path)
    with pytest.raises(LookupError, match="unknown similarity 'cosin'"):
        MemoryBank.build(ENCODER, empty, similarity="cosin", directory=tmp_path)


def test_a_bank_knows_its_encoder(folder, tmp_path):
    bank = MemoryBank.build(ENCODER, ImageFolder(folder), directory=tmp_path / "bank")
    bank.expect_encoder(tiny_encoder())
    other = tiny_encoder()
    with torch.no_grad():
        other.network.conv.weight[0, 0, 0, 0] += 1e-6
    said = f"with encoder '{described(ENCODER)}', but '{described(other)}' is given, whose weights, layer or head are"
    with pytest.raises(ValueError, match=said):
        bank.expect_encoder(other)
    with pytest.raises(ValueError, match=r"built with preprocessing 'ToImage\(\), Resize.*', but '.*' is given"):
        bank.expect_encoder(tiny_encoder(preprocess=lambda _image: torch.zeros(3, 8, 8)))
    imported = MemoryBank.from_embeddings(torch.ones(2, 5), encoder="somebody's")
    with pytest.raises(ValueError, match="embeddings of channels '5', but '4' is given"):
        imported.expect_encoder(ENCODER)
    MemoryBank.from_embeddings(torch.ones(2, 4)).expect_encoder(ENCODER)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused_before_a_bank_is_touched(folder, tmp_path, size):
    photographs = ImageFolder(folder)
    MemoryBank.build(ENCODER, photographs, directory=tmp_path / "bank")
    for build in (
        lambda: MemoryBank.build(ENCODER, photographs, batch_size=size),
        lambda: MemoryBank.build(ENCODER, photographs, batch_size=size, directory=tmp_path / "bank"),
        lambda: append_images(ENCODER, photographs, tmp_path / "bank", batch_size=size),
    ):
        with pytest.raises(ValueError, match=f"expected a batch size of at least 1, but got {size}"):
            build()
    assert len(MemoryBank.load(tmp_path / "bank")) == 10


@pytest.mark.parametrize("spelling", [str, lambda path: path])
def test_a_folder_is_taken_by_its_path(folder, tmp_path, spelling):
    built = MemoryBank.build(ENCODER, spelling(folder), directory=tmp_path / "bank")
    expected = MemoryBank.build(ENCODER, ImageFolder(folder))
    for made in (MemoryBank.build(ENCODER, spelling(folder)), built):
        assert torch.equal(made.rows.read(0, 10), expected.rows.read(0, 10))
        assert (made.classes, list(made.paths)) == (expected.classes, list(expected.paths))
    assert append_images(ENCODER, spelling(folder), tmp_path / "bank").known == 10
    flat = next(path for path in folder.iterdir() if path.is_dir())
    assert MemoryBank.build(ENCODER, spelling(flat)).classes == ()


@pytest.mark.parametrize("source", ["nowhere", "x" * 5000, "a\0b", __file__])
def test_a_path_that_is_no_folder_is_one_sentence(source):
    with pytest.raises(ValueError, match=r"expected a folder of images, but .* is none; give its path"):
        MemoryBank.build(ENCODER, source)
