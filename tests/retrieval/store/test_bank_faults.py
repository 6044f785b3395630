"""Damaged files, full disks and two writers: one sentence each, nothing lost, never a wrong row."""

import errno
import os
import random
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from small_banks import CHANGES, NEW, OLD, holds, interrupted, old_bank, rebuild, small_blocks_and_pieces

from retrieval_explain.store import embeddings_file
from retrieval_explain.store import versions as bank_versions
from retrieval_explain.store.changes import append, delete
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.writer import BankWriter

small_blocks = pytest.fixture(autouse=True)(small_blocks_and_pieces)
bank = pytest.fixture(old_bank)
DAMAGED = r"CURRENT names no version|is damaged or not of this bank|is missing; restore|to have \d+ bytes, but it has"


def read_all(directory):
    found = open_bank(directory)
    return found.rows(0, len(found)).copy(), found.table


def bank_file(directory, name):
    return directory / name if name == "CURRENT" else directory / open_bank(directory).version / name


@pytest.mark.parametrize("name", ["CURRENT", "manifest.json", "rows.parquet", "embeddings.safetensors"])
def test_damaged_files_are_named_and_no_row_is_read(bank, tmp_path, name):
    path = bank_file(bank, name)
    data = path.read_bytes()
    chance = random.Random(name)
    for _ in range(40):
        position = chance.randrange(len(data))
        path.write_bytes(data[:position] + bytes([data[position] ^ (1 << chance.randrange(8))]) + data[position + 1 :])
        with pytest.raises((ValueError, FileNotFoundError), match=DAMAGED):
            read_all(bank)
        path.write_bytes(data[:position])
        with pytest.raises(ValueError, match=DAMAGED):
            read_all(bank)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{name}.*(build|restore)"):
        read_all(bank)
    other = tmp_path / "other"
    with BankWriter(other, 4) as writer:
        writer.add(2 * OLD)
    shutil.copyfile(bank_file(other, name), path)
    if name == "rows.parquet":
        assert path.read_bytes() == data
    else:
        with pytest.raises((ValueError, FileNotFoundError), match=DAMAGED):
            read_all(bank)
    path.write_bytes(data)
    assert holds(bank, OLD, range(30))


def test_a_change_of_a_damaged_bank_does_not_hide_the_damage(bank):
    path = bank_file(bank, "embeddings.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    for change in (lambda: append(bank, NEW), lambda: delete(bank, [0])):
        with pytest.raises(ValueError, match=r"embeddings\.safetensors is damaged"):
            change()
    assert not (bank / ".writing").exists()


@pytest.mark.parametrize("target", ["../elsewhere", "version-000001-00000000/../../x", "/", ""])
def test_a_path_out_of_the_bank_is_refused(bank, target):
    (bank / "CURRENT").write_text(f"{target} {'0' * 64}\n")
    with pytest.raises(ValueError, match="CURRENT names no version of this bank"):
        open_bank(bank)


def test_a_version_that_is_a_link_is_refused(bank, tmp_path):
    folder = bank / open_bank(bank).version
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link that leads out of the bank"):
        open_bank(bank)


def test_the_second_of_two_writers_is_told_to_wait(bank):
    with BankWriter(bank, 4) as writer:
        writer.add(NEW, ids=range(100, 120))
        for change in (lambda: append(bank, NEW), lambda: delete(bank, [0]), lambda: rebuild(bank)):
            with pytest.raises(BlockingIOError, match="another process is writing to the bank"):
                change()
        assert holds(bank, OLD, range(30))
    assert holds(bank, NEW, range(100, 120))


def check_full_disk(bank, change, sentence):
    with pytest.raises(OSError, match=sentence) as caught:
        change(bank)
    assert caught.value.strerror is None
    assert holds(bank, OLD, range(30))


@pytest.mark.parametrize("change", CHANGES)
def test_a_full_disk_leaves_the_old_bank(bank, change, monkeypatch):
    work, rows, ids = CHANGES[change]

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module, name in [(embeddings_file.os, "pwrite"), (bank_versions, "_write_synced"), (os, "fsync")]:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            check_full_disk(
                bank, work, r"no room to write the bank .*\(No space left on device\); the bank is as it was"
            )
    with monkeypatch.context() as patch:
        patch.setattr(bank_versions.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 100, 0))
        check_full_disk(bank, work, r"MB free for the bank .*, but its disk has 0\.0 MB")
    work(bank)
    assert holds(bank, rows, ids)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("limit", [100, 4200, 4300])
def test_a_file_that_may_not_grow_leaves_the_old_bank(bank, change, limit):
    work, rows, ids = CHANGES[change]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        check_full_disk(bank, work, r"no room to write the bank .*\(File too large\)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    work(bank)
    assert holds(bank, rows, ids)


def go_on_after_an_error(directory, monkeypatch):
    def broken(*_arguments):
        raise OSError(errno.EIO, "broken")

    with BankWriter(directory, 4) as writer, monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(embeddings_file.os, "pwrite", broken)
        writer.add(NEW)


def test_a_writer_that_stopped_at_an_error_publishes_nothing(bank, monkeypatch):
    with pytest.raises(ValueError, match="stopped at an error; open it again with resume"):
        go_on_after_an_error(bank, monkeypatch)
    assert holds(bank, OLD, range(30))


def test_a_damaged_pointer_lets_no_version_be_removed_before_a_new_one_stands(bank):
    (bank / "CURRENT").write_bytes(b"damaged")
    interrupted(bank)
    assert len(list(Path(bank).glob("version-*"))) == 1
    rebuild(bank)
    assert holds(bank, NEW, range(100, 120))
