"""Files that are there whole or not at all."""

import os
import subprocess
import sys

import pytest

from fsl_explain.files import written_aside


def test_a_file_appears_when_the_block_ends_well(tmp_path):
    with written_aside(tmp_path / "new" / "a.txt") as aside:
        aside.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a.txt").write_text("before")

    def fail_halfway():
        with written_aside(tmp_path / "a.txt") as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead, alive = (f".a-{number}-{'0' * 32}.txt" for number in (process.pid, os.getpid()))
    for name in (dead, alive, ".a-x.txt", f".ab-{process.pid}-{'0' * 32}.txt"):
        (tmp_path / name).write_text("half")
    with written_aside(tmp_path / "a.txt") as aside:
        aside.write_text("whole")
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {"a.txt", alive, ".a-x.txt", f".ab-{process.pid}-{'0' * 32}.txt"}


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "deeper" / "a.txt"):
        with pytest.raises(ValueError, match=r"expected .* to be a folder, but it is a file"), written_aside(path):
            pytest.fail("there is no place to write to")
