"""What ``search`` writes and says: files by their ending, the query's own file, more voters than a class has."""

import csv
import json

import pyarrow.parquet as pq
import pytest
from test_retrieval_commands import NETWORK, bank, folder  # noqa: F401 - fixtures

from retrieval_explain.cli.app import run
from retrieval_explain.cli.written_neighbors import write_records


@pytest.fixture
def searched(folder, bank, tmp_path):  # noqa: F811
    def searched(name, *options):
        query = str(folder / "red" / "1.png")
        return run(["search", query, "--bank", str(bank), "-k", "3", "--out", str(tmp_path / name), *options, *NETWORK])

    return searched


def test_the_ending_decides_on_the_format(searched, tmp_path):
    for name in ("n.json", "n.csv", "n.parquet"):
        assert searched(name) == 0
    found = json.loads((tmp_path / "n.json").read_text())["neighbors"]
    with (tmp_path / "n.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one["path"] for one in found]
    assert [float(row["similarity"]) for row in rows] == [one["similarity"] for one in found]
    assert pq.read_table(tmp_path / "n.parquet").to_pylist() == found


def test_another_ending_is_refused_before_anything_is_searched(searched, tmp_path, capsys):
    assert searched("n.xlsx") == 2
    assert "expected a file that ends in .json, .csv, .parquet, but got" in capsys.readouterr().err
    assert not (tmp_path / "n.xlsx").exists()


def test_a_spreadsheet_runs_no_name(tmp_path):
    write_records({}, [{"rank": 1, "class": "=cmd|' /C calc'!A0", "path": "@x"}], tmp_path / "n.csv")
    with (tmp_path / "n.csv").open(newline="") as file:
        assert next(csv.DictReader(file)) == {"rank": "1", "class": "'=cmd|' /C calc'!A0", "path": "'@x"}


def test_the_querys_own_file_in_the_bank_is_said_once(searched, capsys):
    assert searched("n.json") == 0
    assert capsys.readouterr().err.count("1.png is in the bank itself, and is like itself; --leave-self-out") == 1
    assert searched("n.json", "--leave-self-out") == 0
    assert "in the bank itself" not in capsys.readouterr().err


def test_more_voters_than_a_class_has_are_said_in_the_terminal_and_on_the_page(folder, bank, tmp_path, capsys):  # noqa: F811
    query, out = str(folder / "red" / "1.png"), tmp_path / "p.html"
    asked = ["inspect", query, "--bank", str(bank), "--out", str(out), *NETWORK]
    sentence = "8 neighbors vote, but no class has more than 3 images"
    assert run([*asked, "-k", "8"]) == 0
    assert sentence in capsys.readouterr().err
    assert sentence in out.read_text()
    assert run([*asked, "-k", "3"]) == 0
    assert "neighbors vote, but" not in capsys.readouterr().err
