import os
import socket
from pathlib import Path

import pytest

from episodes.errors import MissingFile, Mistake, TooLarge
from episodes.files import open_regular, read_regular


def pipe(path):
    os.mkfifo(path)


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


SPECIAL = {
    "a pipe": pipe,
    "a socket": listening,
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_only_a_regular_file_is_opened(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    SPECIAL[kind](Path("a.png"))
    with pytest.raises(Mistake, match=rf"expected an image, but .*a\.png is {kind}; give one file"):
        open_regular(tmp_path / "a.png", what="image")


def test_a_link_to_nothing_or_to_itself(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone")
    (tmp_path / "b.png").symlink_to(tmp_path / "b.png")
    with pytest.raises(MissingFile, match=r"the image .*a\.png does not exist"):
        open_regular(tmp_path / "a.png", what="image")
    with pytest.raises(MissingFile, match=r"b\.png is a link that leads back to itself"):
        open_regular(tmp_path / "b.png", what="image")


@pytest.mark.parametrize("name", ["a\0.png", "x" * 5000])
def test_a_name_that_no_file_can_have(name):
    with pytest.raises(Mistake, match=r"expected a file, but .* cannot be opened .*; check the path"):
        open_regular(name)


def test_size_is_bounded_before_and_while_reading(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", limit=5) == b"12345"
    with pytest.raises(TooLarge, match=r"expected a table of at most 4 bytes, but .*a has more"):
        read_regular(tmp_path / "a", what="table", limit=4)
    endless = Path("/proc/self/status")  # it says 0 bytes, and gives more
    if endless.exists():
        with pytest.raises(TooLarge, match="at most 4 bytes"):
            read_regular(endless, limit=4)
