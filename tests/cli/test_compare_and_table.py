"""The commands ``compare`` and ``table`` from end to end, on small data."""

import json
import re

import pytest

from fsl_explain.cli.app import run

SETTINGS = """
[data]
kind = "digit-scenes"
per_class = 6
[maps]
methods = ["relax", "exact", "contrast", "smoothgrad", "layercam@1"]
shots = 2
sample = 3
relax_masks = 6
steps = 2
removal_draws = 5
removal_grid = 3
[mosaics]
count = 4
heads = ["none"]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small-comparison.toml"
    path.write_text(SETTINGS)
    return path


def test_a_comparison_of_chosen_figures_alone(config, capsys):
    chosen = ["--set", 'maps.figures=["auc"]', "--set", 'maps.methods=["exact"]', "--set", "mosaics=false"]
    assert run(["compare", "--config", str(config), *chosen]) == 0
    printed = capsys.readouterr().out
    assert "AUC" in printed
    assert not any(other in printed for other in ("right tile", "Insertion", "Removed sets", "Pointing"))


def test_a_comparison_is_written_printed_and_laid_out_again(config, tmp_path, capsys):
    out = tmp_path / "results"
    assert run(["compare", "--config", str(config), "--out", str(out)]) == 0
    printed, said = capsys.readouterr()
    assert re.search(r"explaining examples .* ([1-9]\d*)/\1 ", said)
    titles = (
        "what removing regions really does",
        "mosaics: maximum in the right tile",
        "what tells maps apart",
        "LaFAM's",
    )
    order = [printed.index(title) for title in titles]
    assert order == sorted(order)
    assert sorted(path.name for path in out.iterdir()) == ["index.html", "queries.parquet", "summary.json"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["sample"] == 3
    assert summary["methods"]["exact"]["removal_correlation"]["images"] == 3
    page = (out / "index.html").read_text()
    assert "Example 1" in page
    assert page.index("side by side") < page.index("what tells maps apart") < page.index("LaFAM&#39;s tables")
    side_by_side = page[page.index("side by side") : page.index("what tells maps apart")]
    for method in ("contrast", "exact", "grad-cam", "fam", "lafam", "centered-gaussian"):
        assert f'<th scope="col">{method}</th>' in side_by_side
    assert side_by_side.count("<img ") == 3 * 7
    table = ["table", str(out), "--layout", "lafam", "--method", "exact", "--against", "lafam"]
    assert run([*table, "--format", "markdown"]) == 0
    text = capsys.readouterr().out
    auc = 100 * summary["methods"]["exact"]["auc"]["mean"]
    assert f"{auc:.2f} ± " in text
    for images in (summary["images"], summary["sample"]):
        assert f"**results, {images} images: difference from lafam**" in text
    assert run([*table, "--format", "latex", "--out", str(tmp_path / "paper" / "t.tex")]) == 0
    assert r"\toprule" in (tmp_path / "paper" / "t.tex").read_text()
    assert run(table) == 0
    assert f"{auc:.2f} ± " in capsys.readouterr().out


def test_a_comparison_without_decisions_begins_with_its_maps(config, tmp_path):
    out = tmp_path / "results"
    settings = ("--set", "maps.shots=0", "--set", "maps.methods=['relax']")
    assert run(["compare", "--config", str(config), "--out", str(out), *settings]) == 0
    page = (out / "index.html").read_text()
    assert page.index("side by side") < page.index("LaFAM&#39;s tables")
    assert page.count("map of relax over") == page.count("map of lafam over") == 3
    assert "Example 1" not in page


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["compare", "--config", "CONFIG", "--set", "maps.methods=['exat']"], "unknown method 'exat'"),
        (["compare", "--config", "CONFIG", "--resume"], "expected --out with --resume"),
        (["compare", "--config", "CONFIG", "--out", "CONFIG"], "expected a folder for the results, but"),
        (["table"], "expected at least one folder of results, but got none"),
        (["table", "nowhere"], "expected the results of an evaluation in nowhere"),
        (["table", "nowhere", "--layout", "fam"], "unknown layout 'fam'"),
        (["table", "nowhere", "--format", "pdf"], "unknown format 'pdf'"),
        (["table", "nowhere", "--out", "t.txt"], "expected a file and a --format of markdown, latex or html"),
    ],
)
def test_a_mistake_is_one_sentence(config, capsys, arguments, sentence):
    assert run([str(config) if part == "CONFIG" else part for part in arguments]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fsl-explain: ")]
    assert len(said) == 1
    assert sentence in said[0]
