"""Text files and tables of other people: what is read, and the sentence of every fault with the file and the line."""

import os

import pytest

from episodes import text_files
from episodes.errors import MissingFile, Mistake, TooLarge
from episodes.text_files import read_lines, read_rows, read_table, read_text


@pytest.fixture
def file(tmp_path):
    def written(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content)
        return path

    return written


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\rc\n", ["a", "b", "c"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        ("a\u2028b\x0cc\x85d\n".encode(), ["a\u2028b\x0cc\x85d"]),
        ("é\n".encode(), ["é"]),
    ],
)
def test_lines_end_as_files_end_them_and_nowhere_else(file, content, lines):
    assert read_lines(file(content)) == lines


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a,b\n1,2\n", [(1, ["a", "b"]), (2, ["1", "2"])]),
        (b"\xef\xbb\xbfa,b\r\n\r\n1,2", [(1, ["a", "b"]), (3, ["1", "2"])]),
        (b'a\n"x\ny"\nz\n', [(1, ["a"]), (3, ["x\ny"]), (4, ["z"])]),
        (b'a,"b ""c"", d"\n', [(1, ["a", 'b "c", d'])]),
        (b"a\rb\r", [(1, ["a"]), (2, ["b"])]),
    ],
)
def test_rows_have_the_number_of_their_last_line(file, content, rows):
    assert list(read_rows(file(content))) == rows


def test_a_table_by_column_and_short_rows_are_filled(file):
    path = file(b"file,class,note\na.png,x,n\nb.png,y\n")
    assert list(read_table(path, ["file", "class"])) == [
        (2, {"file": "a.png", "class": "x", "note": "n"}),
        (3, {"file": "b.png", "class": "y", "note": ""}),
    ]


def test_empty_entries_beyond_the_columns_are_nothing(file):
    assert list(read_table(file(b"a,b\n1,2,,\n"), ["a"])) == [(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\nb\n\xff\n", r"table.csv is no UTF-8 text: line 3 holds the byte 0xff; save it as UTF-8"),
        ("a\n".encode("utf-16"), r"table.csv is no UTF-8 text: line 1 holds the byte 0xff"),
        (b"a\nb\0\n", r"table.csv, line 2, holds the character NUL; restore the file"),
    ],
)
@pytest.mark.parametrize("read", [read_text, read_lines, lambda path: list(read_rows(path))])
def test_what_is_no_text_is_a_sentence_with_its_line(file, content, sentence, read):
    with pytest.raises(Mistake, match=sentence):
        read(file(content))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'a,b\n1,"2\n', r"table in CSV, but .*table.csv, line 2, is none .*; correct the line"),
        (b'a,b\n1,"2"x\n', r"table.csv, line 2, is none"),
        (b"a,b\n1,2,3\n", r"table.csv, line 2: expected 2 entries, but got 3; correct the line"),
        (b"a,a\n1,2\n", r"expected the column a of .*table.csv once, but it stands twice"),
        (b"A,b\n1,2\n", r"unknown column of .*table.csv 'a'.* Known: A, b|unknown column of .*table.csv 'a'"),
        (b"", r"unknown column of .*table.csv 'a'"),
    ],
)
def test_what_is_no_table_is_a_sentence(file, content, sentence):
    with pytest.raises(Mistake, match=sentence):
        list(read_table(file(content), ["a"]))


def test_an_entry_beyond_the_limit_of_csv_is_a_sentence(file):
    with pytest.raises(Mistake, match=r"table.csv, line 2, is none \(field larger than field limit"):
        list(read_rows(file(b"a\n" + b"x" * 200_000 + b"\n")))


@pytest.mark.parametrize("read", [read_text, lambda path: list(read_rows(path))])
def test_what_is_no_regular_file_is_not_opened(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingFile, match=r"gone does not exist; check the path"):
        read(tmp_path / "gone")
    for name, kind in ((".", "a folder"), ("pipe", "a pipe")):
        with pytest.raises(Mistake, match=f"but .* is {kind}; give one file"):
            read(tmp_path / name)


def test_sizes_are_bounded_before_anything_is_read(file, monkeypatch):
    with pytest.raises(TooLarge, match=r"a list of at most 3 bytes, but .*table.csv has more; make it smaller"):
        read_text(file(b"abcd"), "list", 3)
    monkeypatch.setattr(text_files, "MOST_OF_A_LINE", 8)
    with pytest.raises(TooLarge, match=r"table.csv, line 2, has more than 8 bytes"):
        list(read_rows(file(b"a,b\n1,23456789\n")))
