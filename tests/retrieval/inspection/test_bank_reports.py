"""The commands ``evaluate`` and ``audit`` of ``retrieval-explain`` from end to end, on small data."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from retrieval_explain import MemoryBank
from retrieval_explain.cli.app import run
from retrieval_explain.settings import BankEvaluationConfig

SETTINGS = """
[data]
kind = "digit-scenes"
per_class = 4
[decision]
rules = ["nearest-neighbor", "majority-vote"]
k = 5
[explanation]
methods = ["exact", "fam"]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small-bank.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def bank(tmp_path):
    """Forty images of two colors, one of the wrong label, one whose file is gone, and one without a file."""
    torch.manual_seed(0)
    paths, embeddings = [], torch.eye(2).repeat(20, 1) * 3 + torch.randn(40, 2) * 0.3
    for number in range(40):
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), ("red", "blue")[number % 2]).save(path)
        paths.append(str(path))
    labels = [("red", "blue")[number % 2] for number in range(40)]
    labels[4], paths[0] = "blue", ""
    (tmp_path / "photos" / "2.png").unlink()
    MemoryBank.from_embeddings(embeddings, labels=labels, paths=paths).save(tmp_path / "colors.bank")
    return tmp_path / "colors.bank"


def said(capsys, command):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("retrieval-explain: ")]
    assert len(lines) == 1, command
    return lines[0]


def test_the_same_tables_summary_rows_and_page_twice(config, tmp_path, capsys):
    printed = []
    for name in ("one", "two"):
        assert run(["evaluate", "--config", str(config), "--limit", "9", "--out", str(tmp_path / name)]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    for text in ("small-bank: retrieval", "mAP@R", "small-bank: majority vote", "centered-gaussian", "9 queries"):
        assert text in printed[0]
    for file in ("summary.json", "queries.parquet", "index.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert len(list((tmp_path / "one").iterdir())) == 3
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    assert (summary["queries"], summary["gallery"], summary["neighbors"]) == (9, 19, 5)
    assert list(summary["rules"]) == ["nearest-neighbor", "majority-vote"]
    assert summary["provenance"]["config"]["decision"]["k"] == 5
    assert summary["provenance"]["dataset"]["images"] == 20
    rows = pq.read_table(tmp_path / "one" / "queries.parquet")
    assert rows.num_rows == 9 * 2 * 7
    assert set(rows["method"].to_pylist()) == {
        "exact",
        "fam",
        "grad-cam",
        "lafam",
        "centered-gaussian",
        "random-blurred",
        "all-ones",
    }
    page = (tmp_path / "one" / "index.html").read_text()
    assert page.count("<table>") == 3
    assert "the other images of" in page


def test_a_gallery_is_recorded_without_its_place(config, tmp_path, capsys):
    for name in ("black", "white"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            shade = 3 * number + (200 if name == "white" else 20)
            Image.new("RGB", (40, 40), (shade, shade, number)).save(tmp_path / "photos" / name / f"{number}.png")
    config.write_text(
        '[data]\nkind = "image-folder"\nroot = "photos"\n[gallery]\nkind = "image-folder"\nroot = "photos"\n'
        'classes = ["white"]\n[explanation]\nmethods = ["exact"]\n'
    )
    assert run(["evaluate", "--config", str(config), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "summary.json").read_text()
    assert str(tmp_path) not in text
    recorded = json.loads(text)["provenance"]
    assert recorded["config"]["gallery"]["classes"] == ["white"]
    assert recorded["gallery"]["dataset"] == {"name": "photos", "images": 6, "classes": 1}
    assert json.loads(text)["retrieval"]["recall@1"]["without_reference"] == 6
    rows = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    assert all(row["path"] != row["nearest_path"] for row in rows)
    assert {row["nearest_path"].split("/")[-2] for row in rows} == {"white"}
    assert json.loads(text)["gallery"] == 5
    assert json.loads(text)["rules"]["knn-vote"]["object_area"] is None
    assert "6 queries without another image of their class are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "decision.rules=['knn-vot']"], "unknown rule 'knn-vot'; did you mean 'knn-vote'"),
        (["--set", "decision.rules=['prototype']"], "unknown rule 'prototype'"),
        (["--set", "decision.rules=[]"], "[decision.rules]"),
        (["--set", "decision.k=0"], "greater than or equal to 1, but got 0"),
        (["--set", "decision.k=201"], "less than or equal to 200, but got 201"),
        (["--set", "decision.temperature=0"], "greater than 0, but got 0"),
        (["--set", "decision.rule='knn-vote'"], "unknown key 'rule'; did you mean 'rules'"),
        (["--set", "explanation.methods=['exat']"], "unknown method 'exat'; did you mean 'exact'"),
        (["--set", "explanation.methods=['verification']"], "of a class's score or of its lead, but got"),
        (["--limit", "0"], "expected a --limit of at least 1 query, but got 0."),
    ],
)
def test_a_mistake_in_the_settings_is_one_sentence(config, capsys, arguments, sentence):
    assert run(["evaluate", "--config", str(config), *arguments]) == 2
    assert sentence in said(capsys, arguments)


def test_settings_of_the_vote_are_those_of_the_papers_unless_given():
    decision = BankEvaluationConfig.model_validate({"data": {"kind": "digit-scenes"}}).decision
    assert (decision.k, decision.temperature, decision.similarity) == (200, 0.07, "cosine")
    assert decision.rules == ("knn-vote", "nearest-neighbor")
    twice = BankEvaluationConfig.model_validate(
        {"data": {"kind": "digit-scenes"}, "decision": {"rules": ["knn-vote", "knn-vote"]}}
    )
    assert twice.decision.rules == ("knn-vote",)


def test_an_audit_lists_writes_and_draws_the_wrong_label(bank, tmp_path, capsys):
    before = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    assert run(["audit", "--bank", str(bank), "--top", "12", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "colors.bank: likeliest mislabeled" in printed
    assert next(line for line in printed.splitlines() if ".png" in line).split()[1] == "4.png"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    first = summary["likeliest_mislabeled"][0]
    assert (first["row"], first["label"], first["suggested"]) == (4, "blue", "red")
    assert first["worth"] < summary["likeliest_mislabeled"][1]["worth"] - 0.5
    assert len(summary["likeliest_mislabeled"]) == 12
    assert "flipped" not in summary
    rows = pq.read_table(tmp_path / "out" / "audit.parquet").to_pylist()
    assert len(rows) == 40
    assert (rows[4]["rank"], rows[4]["suggested_label"], rows[0]["path"]) == (1, "red", None)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "#1 · labeled blue" in page
    assert page.count("data:image/webp") > 12
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.parquet", "index.html", "summary.json"]
    assert before == {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}


def test_a_picture_that_cannot_be_shown_is_said(bank, tmp_path, capsys):
    assert run(["audit", "--bank", str(bank), "--top", "40", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "2.png does not exist; check the path." in page
    assert "the bank knows no file of row 0" in page


def test_flips_are_in_memory_only_and_judged(bank, tmp_path, capsys):
    before = {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    arguments = [
        "audit",
        "--bank",
        str(bank),
        "--k",
        "7",
        "--flip",
        "0.1",
        "--seed",
        "5",
        "--overwrite",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "flipped labels found" in printed
    assert "4 labels were flipped in memory" in printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["k"] == 7
    assert summary["flipped"]["images"] == 4
    assert summary["flipped"]["worth"]["average_precision"] > summary["flipped"]["worth"]["random_high"]
    rows = pq.read_table(tmp_path / "out" / "audit.parquet").to_pylist()
    assert sum(row["flipped"] for row in rows) == 4
    assert before == {path: path.read_bytes() for path in bank.rglob("*") if path.is_file()}
    assert run(["6" if argument == "5" else argument for argument in arguments]) == 0
    assert capsys.readouterr().out != printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--k", "40"], "asked for 40 neighbors, but each of 40 labeled images has 39 others"),
        (["--flip", "0"], "a share that flips some of 40 labels, but 0 flips 0"),
        (["--top", "0"], "expected --top of at least 1 image, but got 0."),
    ],
)
def test_a_mistake_in_an_audit_is_one_sentence(bank, capsys, arguments, sentence):
    assert run(["audit", "--bank", str(bank), *arguments]) == 2
    assert sentence in said(capsys, arguments)


def test_results_need_a_folder(config, bank, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for command in (["evaluate", "--config", str(config)], ["audit", "--bank", str(bank)]):
        assert run([*command, "--out", str(tmp_path / "file")]) == 2
        assert "is a file; choose another --out" in said(capsys, command)
