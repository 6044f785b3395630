"""The command ``mosaics`` from end to end, on small data."""

import json
import re

import pytest

from fsl_explain.cli.app import run

SETTINGS = """
[data]
kind = "digit-scenes"
per_class = 4
[mosaics]
count = 5
heads = ["none", "class-pca"]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small-mosaics.toml"
    path.write_text(SETTINGS)
    return path


def test_the_same_tables_summary_and_page_twice(config, tmp_path, capsys):
    printed = []
    for name in ("one", "two"):
        assert run(["mosaics", "--config", str(config), "--limit", "3", "--out", str(tmp_path / name)]) == 0
        out, said = capsys.readouterr()
        printed.append(out)
        assert re.search(r"explaining examples .* 3/3 ", said)
    assert printed[0] == printed[1]
    for text in ("small-mosaics: maximum in the right tile", "class-pca (4)", "tile alone, contrast", "3 mosaics"):
        assert text in printed[0]
    files = [(tmp_path / name / "summary.json").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]
    summary = json.loads(files[0])
    assert summary["mosaics"] == 3
    assert summary["heads"]["none"]["methods"]["all-ones"]["hit"]["mean"] == 0.25
    assert summary["provenance"]["config"]["mosaics"]["fit_share"] == 0.5
    page = (tmp_path / "one" / "index.html").read_text()
    assert page.count("Mosaic 2: where is") >= 1
    assert "tile alone, one reference" in page
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["index.html", "summary.json"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "mosaics.heads=['class-pcs']"], "unknown head 'class-pcs'; did you mean 'class-pca'"),
        (["--set", "mosaics.methods=['exat']"], "unknown method 'exat'; did you mean 'exact'"),
        (["--set", "mosaics.hats=['none']"], "unknown key 'hats'; did you mean 'heads'"),
        (["--set", "data.classes=['0', '1', '6']"], "a mosaic needs 4 classes"),
        (["--set", "data.per_class=2"], "every class needs 3 images"),
        (["--limit", "0"], "expected a --limit of at least 1 mosaic, but got 0."),
    ],
)
def test_a_mistake_is_one_sentence(config, capsys, arguments, sentence):
    assert run(["mosaics", "--config", str(config), *arguments]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fsl-explain: ")]
    assert len(said) == 1
    assert sentence in said[0]


def test_results_need_a_folder(config, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert run(["mosaics", "--config", str(config), "--out", str(tmp_path / "file")]) == 2
    assert "is a file; choose another --out" in capsys.readouterr().err
