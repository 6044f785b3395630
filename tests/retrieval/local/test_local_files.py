"""Local features on disk: sealed to the bank's rows, refused when either has changed, and whole after any kill."""

import itertools
import os
import shutil
import signal
import sys
from contextlib import suppress

import numpy as np
import pytest
import torch
from cell_banks import ROWS, cell_bank, cell_encoder, photographs, query_of, write_photograph
from tiny_encoder import CHANNELS

from episodes.errors import Mistake
from fsl_explain.classifiers.local.local_features import local_features
from retrieval_explain import LocalFeatures, MemoryBank, reranked
from retrieval_explain.local import local_building
from retrieval_explain.store.building import append_images

ALL = torch.arange(ROWS)
TOLD = {
    "features": "row .* is damaged: its SHA-256",
    "seals": "seals-.*bin is damaged: its SHA-256",
    "manifest": "manifest.json is damaged or of another format",
    "short": "expected .* to have .* bytes, but it has",
    "header": "the header of .* tells of other rows",
    "link": "expected .*npy, a file of the local features, but there is none",
}


@pytest.fixture
def bank(tmp_path):
    return cell_bank(tmp_path)


def features_of(encoder, bank):
    images = encoder.preprocess([bank.paths[row] for row in range(len(bank))])
    return local_features(encoder)(images).embedding


def counted(encoder):
    """Return the sizes of the batches that an encoder's network is called with from now on."""
    sizes = []
    encoder.network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    return sizes


def test_rows_are_the_cells_of_their_images(bank):
    encoder = cell_encoder()
    made = LocalFeatures.build(encoder, bank, batch_size=4)
    torch.testing.assert_close(made.take(ALL), features_of(encoder, bank))
    assert (len(made), made.grid, made.channels) == (ROWS, (3, 4), CHANNELS)
    assert made.nbytes == ROWS * 12 * CHANNELS * 4
    assert np.load(made.files.path, mmap_mode="r").shape == (ROWS, 12 * CHANNELS)
    again = LocalFeatures.load(MemoryBank.load(bank.directory))
    torch.testing.assert_close(again.take(torch.tensor([7, 2, 7])), made.take(ALL)[[7, 2, 7]], rtol=0, atol=0)


def test_float16_rounds_as_it_says_and_takes_half(bank, tmp_path):
    encoder = cell_encoder()
    made = LocalFeatures.build(encoder, bank, directory=tmp_path / "half", dtype="float16")
    exact = features_of(encoder, bank)
    assert bool(((made.take(ALL) - exact).abs() <= (exact.abs() * 2**-11).clamp(min=3e-8)).all())
    assert made.nbytes == ROWS * 12 * CHANNELS * 2
    with torch.no_grad():
        encoder.network.conv.weight.mul_(1e6)
    huge = MemoryBank.build(encoder, tmp_path / "images", directory=tmp_path / "huge")
    with pytest.raises(Mistake, match=r"0.png are not finite in float16; use float32"):
        LocalFeatures.build(encoder, huge, dtype="float16")
    with pytest.raises(Mistake, match="expected float32 or float16 as the dtype of local features, but got 'int8'"):
        LocalFeatures.build(encoder, huge, dtype="int8")


def test_an_empty_bank_has_none(bank):
    empty = bank.delete(bank.ids.tolist())
    with pytest.raises(Mistake, match="a bank of at least one image to make local features of, but it is empty"):
        LocalFeatures.build(cell_encoder(), empty)


def test_no_room_is_said_of_the_local_features(bank, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(OSError, match=r"free for the local features .*local, but .* what is done stays"):
        LocalFeatures.build(cell_encoder(), bank)


def test_another_encoder_is_refused(bank):
    LocalFeatures.build(cell_encoder(), bank)
    other = cell_encoder(pooling="gmp")
    with pytest.raises(Mistake, match=r"bank was built with encoder '[^,']* #.*', but '.*, pooling gmp #.*' is given"):
        LocalFeatures.build(other, bank)
    theirs = MemoryBank.build(other, bank.directory.parent / "images")
    with pytest.raises(Mistake, match=r"local features .* were made with encoder .*, but '.*, pooling gmp #"):
        reranked(other, query_of(), theirs, local=LocalFeatures.load(bank))


@pytest.mark.parametrize("change", ["delete", "embedding"])
def test_rows_that_changed_are_refused_and_a_label_may(bank, change):
    encoder = cell_encoder()
    LocalFeatures.build(encoder, bank)
    relabeled = bank.update([3], labels=["tern"])
    reranked(encoder, query_of(), relabeled)
    if change == "delete":
        with pytest.raises(Mistake, match="are of 9 rows, but the bank has 8"):
            LocalFeatures.load(relabeled.delete([3]))
        return
    changed = relabeled.update([3], bank.rows.read(3, 4) * 1.01)
    with pytest.raises(Mistake, match="row 3 of the bank has changed since its local features"):
        reranked(encoder, query_of(), changed)


@pytest.mark.parametrize("change", ["ids", "paths"])
def test_a_row_of_unknown_content_is_known_by_its_id_and_path(bank, tmp_path, change):
    encoder, embeddings = cell_encoder(), bank.rows.read(0, ROWS)
    told = {"ids": list(range(ROWS)), "paths": bank.paths[:]}
    first = MemoryBank.from_embeddings(embeddings, encoder=bank.encoder, **told)
    local = LocalFeatures.build(encoder, first, directory=tmp_path / "local")
    same = MemoryBank.from_embeddings(embeddings, encoder=bank.encoder, **told)
    reranked(encoder, query_of(), same, local=local)
    told[change][4] = 40 if change == "ids" else bank.paths[3]
    other = MemoryBank.from_embeddings(embeddings, encoder=bank.encoder, **told)
    with pytest.raises(Mistake, match="row 4 of the bank has changed since its local features"):
        reranked(encoder, query_of(), other, local=local)


def test_another_bank_is_refused(bank, tmp_path):
    encoder = cell_encoder()
    local = LocalFeatures.build(encoder, bank)
    for number in range(ROWS):
        write_photograph(tmp_path / "images" / f"{number}.png", 50 + number)
    other = MemoryBank.build(encoder, tmp_path / "images")
    with pytest.raises(Mistake, match="or they are of another bank"):
        reranked(encoder, query_of(), other, local=local)


def test_images_that_are_not_those_of_the_bank_are_refused(bank, tmp_path):
    encoder = cell_encoder()
    write_photograph(tmp_path / "images" / "4.png", 77)
    with pytest.raises(Mistake, match=r"4.png of row 4 has changed since the bank embedded it"):
        LocalFeatures.build(encoder, bank)
    embeddings, paths = bank.rows.read(0, ROWS), list(bank.paths[:])
    unknown = MemoryBank.from_embeddings(embeddings, paths=paths, encoder=bank.encoder)
    with pytest.raises(Mistake, match=r"4.png is embedded otherwise than row 4 of the bank"):
        LocalFeatures.build(encoder, unknown, directory=tmp_path / "local")
    (tmp_path / "images" / "4.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"4.png of row 4 does not exist"):
        LocalFeatures.build(encoder, bank)
    with pytest.raises(Mistake, match="9 of 9 rows have no path, first row 0"):
        LocalFeatures.build(encoder, MemoryBank.from_embeddings(embeddings), directory=tmp_path / "local")
    with pytest.raises(Mistake, match="in memory alone; give directory="):
        LocalFeatures.build(encoder, unknown)


@pytest.mark.parametrize("broken", TOLD)
def test_damage_is_told_and_nothing_of_it_is_read(bank, broken):
    local = LocalFeatures.build(cell_encoder(), bank)
    files, folder = local.files.described, local.files.directory
    path = {"seals": files.seals_in(folder), "manifest": folder / "manifest.json"}.get(broken, local.files.path)
    data = bytearray(path.read_bytes())
    data[{"header": 20, "manifest": 5}.get(broken, -97)] ^= 1  # of a number, its largest byte
    if broken == "link":
        shutil.move(path, folder / "elsewhere")
        path.symlink_to(folder / "elsewhere")
    else:
        path.write_bytes(data[:-1] if broken == "short" else data)
    with pytest.raises(Mistake, match=rf"{TOLD[broken]}.*make them again with LocalFeatures\.build"):
        LocalFeatures.load(bank).take(ALL)
    repaired = LocalFeatures.build(cell_encoder(), bank)
    torch.testing.assert_close(repaired.take(ALL), features_of(cell_encoder(), bank))


@pytest.mark.parametrize(("dtype", "batches"), [("float32", [1, 3]), ("float16", [1, 3, 3, 3])])
def test_a_build_that_was_stopped_goes_on_where_it_stopped(bank, monkeypatch, dtype, batches):
    """One of other settings begins anew."""
    encoder, real, calls = cell_encoder(), local_building._of_images, itertools.count()

    def stopped(*given):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(local_building, "_of_images", stopped)
    with pytest.raises(KeyboardInterrupt):
        LocalFeatures.build(encoder, bank, batch_size=3)
    with pytest.raises(FileNotFoundError, match="holds none"):
        LocalFeatures.load(bank)
    monkeypatch.setattr(local_building, "_of_images", real)
    sizes = counted(encoder)
    made = LocalFeatures.build(encoder, bank, batch_size=3, dtype=dtype)
    assert sizes == batches  # the first image tells the size, six rows were done
    assert made.files.described.dtype == dtype
    torch.testing.assert_close(made.take(ALL), features_of(cell_encoder(), bank), rtol=1e-3, atol=1e-6)


def test_a_torn_row_of_a_stopped_build_is_made_again(bank):
    made = LocalFeatures.build(cell_encoder(), bank)
    described, folder = made.files.described, made.files.directory
    (folder / "manifest.json").unlink()
    (folder / "unfinished.json").write_text(described.model_dump_json(), encoding="utf-8")
    os.truncate(described.seals_in(folder), 5 * 64 + 10)
    os.truncate(described.features_in(folder), made.files.path.stat().st_size - 7)
    again = LocalFeatures.build(cell_encoder(), bank)
    torch.testing.assert_close(again.take(ALL), features_of(cell_encoder(), bank))


def test_a_build_that_fails_leaves_files_in_use_as_they_are(bank):
    """A kill just before the end has left a record of the build whose files are named already."""
    made = LocalFeatures.build(cell_encoder(), bank)
    record = made.files.directory / "unfinished.json"
    record.write_text(made.files.described.model_dump_json(), encoding="utf-8")
    values = bank.rows.read(0, ROWS).clone()
    values[3] *= 2
    changed = MemoryBank.from_embeddings(values, paths=bank.paths[:], encoder=bank.encoder)
    with pytest.raises(Mistake, match=r"3.png is embedded otherwise than row 3"):
        LocalFeatures.build(cell_encoder(), changed, directory=made.files.directory)
    torch.testing.assert_close(LocalFeatures.load(bank).take(ALL), features_of(cell_encoder(), bank))


def test_only_new_and_changed_rows_are_made_again(bank, tmp_path):
    encoder = cell_encoder()
    LocalFeatures.build(encoder, bank)
    photographs(tmp_path / "images", ROWS + 2)
    write_photograph(tmp_path / "images" / "5.png", 99)
    append_images(encoder, tmp_path / "images", bank.directory)
    grown = MemoryBank.load(bank.directory)
    with pytest.raises(Mistake, match="are of 9 rows, but the bank has 11"):
        LocalFeatures.load(grown)
    sizes = counted(encoder)
    made = LocalFeatures.build(encoder, grown)
    assert sizes == [1, 3]
    torch.testing.assert_close(made.take(torch.arange(ROWS + 2)), features_of(cell_encoder(), grown))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process of its own")
def test_a_kill_at_any_instant_leaves_the_old_ones_or_the_new(bank, tmp_path):
    """Features of float32 are followed by those of float16; each kill is at another line that runs."""
    encoder, folder, work = cell_encoder(), tmp_path / "old", tmp_path / "work"
    LocalFeatures.build(encoder, bank, directory=folder)
    exact = features_of(cell_encoder(), bank)

    def build():
        LocalFeatures.build(encoder, bank, directory=work, dtype="float16", batch_size=2)

    seen = set()
    for after in (*range(3, 400, 41), 10**9):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(folder, work)
        killed = killed_at_line(build, after)
        found = LocalFeatures.load(bank, directory=work)
        seen.add(found.files.described.dtype)
        torch.testing.assert_close(found.take(ALL), exact, rtol=2**-10, atol=1e-6)
        assert killed or found.files.described.dtype == "float16"
        build()
        assert LocalFeatures.load(bank, directory=work).files.described.dtype == "float16"
        assert len(list(work.iterdir())) == 4  # two files, the manifest and the lock
    assert seen == {"float32", "float16"}


def killed_at_line(work, after):
    """Run ``work`` in a process of its own that is killed at a line of the local features' files."""
    child = os.fork()
    if child == 0:
        lines = itertools.count(1)

        def tracer(frame, _event, _argument):
            if not frame.f_code.co_filename.endswith(("local_building.py", "fsl_explain/files.py")):
                return None
            if next(lines) == after:
                os.kill(os.getpid(), signal.SIGKILL)
            return tracer

        sys.settrace(tracer)
        with suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)
