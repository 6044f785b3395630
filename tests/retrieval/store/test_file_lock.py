"""Locks and writing where the system lacks what others have."""

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from small_banks import CHANGES, NEW, OLD, holds, interrupted, old_bank

from episodes.errors import Busy
from fsl_explain import files
from retrieval_explain.store import file_lock
from retrieval_explain.store.files import open_bank
from retrieval_explain.store.versions import bank_lock
from retrieval_explain.store.writer import BankWriter


def windows_locks():
    """Windows' own module for locks, which refuses in other words."""
    fcntl = pytest.importorskip("fcntl")

    def locking(handle, mode, count):
        assert (mode, count) == (1, 1)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None

    return types.SimpleNamespace(LK_NBLCK=1, locking=locking)


@pytest.fixture(params=["as here", "msvcrt", "no locks"])
def system(request, monkeypatch):
    """The modules for locks that there are."""
    if request.param == "as here" and file_lock._module("fcntl") is None:
        pytest.skip("imitated already")
    modules = {"msvcrt": windows_locks()} if request.param == "msvcrt" else {}
    if request.param != "as here":
        monkeypatch.setattr(file_lock, "_module", modules.get)
    return request.param


def test_there_is_one_writer_and_afterwards_the_next(tmp_path, system):
    bank = old_bank(tmp_path)
    with bank_lock(bank):
        with pytest.raises(Busy, match=r"another process is writing to the bank .*; wait until it is done") as error:
            CHANGES["append"][0](bank)
        assert (".lock.held if there is none" in str(error.value)) == (system == "no locks")
    change, rows, ids = CHANGES["append"]
    change(bank)
    assert np.array_equal(open_bank(bank).rows(0, len(rows)), rows)
    assert open_bank(bank).ids.tolist() == list(ids)


def test_an_error_frees_the_lock(tmp_path, system):
    with pytest.raises(KeyError), file_lock.locked(tmp_path / "lock", "this"):
        raise KeyError
    with file_lock.locked(tmp_path / "lock", "this"):
        pass


def test_what_a_killed_writer_left_is_taken_over_and_what_a_living_one_has_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(file_lock, "_module", lambda _: None)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for writer, is_left in ((str(ended.pid), True), (str(os.getppid()), False), ("", False), ("x", False)):
        (tmp_path / "lock.held").write_text(writer)
        if is_left:
            with file_lock.locked(tmp_path / "lock", "this"):
                pass
            assert not (tmp_path / "lock.held").exists()
        else:
            with pytest.raises(Busy, match="another process"), file_lock.locked(tmp_path / "lock", "this"):
                pass


def test_a_bank_is_written_without_writing_at_a_place(tmp_path, monkeypatch):
    for name in ("pwrite", "pread", "O_CLOEXEC", "link"):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(os, "link", _refused, raising=False)
    for name, (change, rows, ids) in CHANGES.items():
        (tmp_path / name).mkdir()
        bank = old_bank(tmp_path / name)
        change(bank)
        assert holds(bank, rows, ids)
    interrupted(tmp_path / "resumed")
    with BankWriter(tmp_path / "resumed", 4, resume=True) as writer:
        writer.add(NEW[writer.rows :])
    assert holds(tmp_path / "resumed", NEW, range(len(NEW)))


def _refused(*_given):
    raise OSError("there are no links here")


def test_folders_that_cannot_be_opened_are_passed_over(tmp_path, monkeypatch):
    """Windows refuses to open a folder; what is in it is on the disk all the same."""
    opened = os.open

    def refused(path, *given, **options):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **options)

    monkeypatch.setattr(os, "open", refused)
    bank = old_bank(tmp_path)
    assert np.array_equal(open_bank(bank).rows(0, len(OLD)), OLD)


def test_a_reader_that_holds_the_old_file_delays_the_new_one(tmp_path, monkeypatch):
    replace, refusals = Path.replace, [1, 2]

    def busy(self, target):
        if refusals:
            refusals.pop()
            raise PermissionError(13, "Access is denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr(files, "SECONDS_BETWEEN", 0)
    with files.written_aside(tmp_path / "file") as aside:
        aside.write_text("new")
    assert (tmp_path / "file").read_text() == "new"
    assert not refusals


def test_the_writer_has_closed_its_file_when_the_folder_is_renamed(tmp_path, monkeypatch):
    rename, opened = Path.rename, []

    def counted(self, target):
        opened.extend(link for link in _open_files() if str(self) in link)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", counted)
    old_bank(tmp_path)
    assert opened == []


def _open_files():
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system does not list open files")
    for handle in os.listdir(folder):  # noqa: PTH208 - one of them is gone when it is read
        try:
            yield str((folder / handle).readlink())
        except OSError:
            continue


@pytest.mark.parametrize("package", ["episodes", "fsl_explain", "retrieval_explain", "retrieval_explain.cli.app"])
def test_the_packages_are_imported_without_fcntl(package):
    code = f"import sys; sys.modules['fcntl'] = None; import {package}"
    subprocess.run([sys.executable, "-c", code], check=True)
