"""``--center`` and ``[center]``: the decision is another one, and terminal and page say so."""

import json

import pytest
import torch
from small_settings import DATA, SETTINGS, SMALL
from torchvision.utils import save_image

import fsl_explain.cli.app
import retrieval_explain.cli.app
from fsl_explain.config import EvaluationConfig, read_config

SAID = "scores and decisions are not those of the encoder alone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    generator = torch.Generator().manual_seed(0)
    for name, color in {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.9, 0.1)}.items():
        (root / "species" / name).mkdir(parents=True)
        for number in range(2):
            noise = 0.1 * torch.rand(3, 84, 84, generator=generator)
            save_image(torch.tensor(color)[:, None, None] * 0.9 + noise, root / "species" / name / f"{number}.png")
    built = ["build", str(root / "species"), "--bank", str(root / "birds.bank"), "--encoder", "conv4net"]
    assert retrieval_explain.cli.app.run(built) == 0
    return root


def explain(folder, *options, out=None):
    where = ("--support", str(folder / "species"), "--encoder", "conv4net", "--out", str(out or folder / "page.html"))
    return fsl_explain.cli.app.run(["explain", str(folder / "species/red/0.png"), *where, *options])


def printed_score(printed):
    return printed.partition("Decided: ")[2].partition("\n")[0]


@pytest.mark.parametrize(
    ("name", "words"), [("supports", "the 4 supports"), ("BANK", "the 4 images of the bank birds.bank")]
)
def test_a_center_changes_the_scores_and_is_said(folder, tmp_path, capsys, name, words):
    assert explain(folder, out=tmp_path / "plain.html") == 0
    plain = capsys.readouterr()
    assert SAID not in plain.err
    given = str(folder / "birds.bank") if name == "BANK" else name
    assert explain(folder, "--center", given, out=tmp_path / "centered.html") == 0
    centered = capsys.readouterr()
    assert f"Embeddings are centered on the mean of {words}: {SAID}" in centered.err
    page = (tmp_path / "centered.html").read_text(encoding="utf-8")
    assert f"mean of {words}: {SAID}" in page
    assert printed_score(centered.out) != printed_score(plain.out)


def test_contrast_is_shown_before_exact(folder, capsys):
    assert explain(folder) == 0
    receipts = capsys.readouterr().out.partition("Receipts")[2]
    assert receipts.index("contrast") < receipts.index("exact") < receipts.index("fam")


@pytest.mark.parametrize(
    ("center", "sentence"),
    [
        ("nowhere", "expected supports or the folder of a bank to center on, but nowhere is no folder"),
        ("SPECIES", "expected a memory bank, but"),
    ],
)
def test_a_center_that_is_none_is_one_sentence(folder, capsys, center, sentence):
    assert explain(folder, "--center", str(folder / "species") if center == "SPECIES" else center) == 2
    assert sentence in capsys.readouterr().err


@pytest.fixture
def config(tmp_path):
    def written(command, more=""):
        path = tmp_path / f"{command}.toml"
        path.write_text(DATA + SMALL + SETTINGS[command] + more)
        return path

    return written


def test_a_comparison_is_centered_on_its_supports(config, tmp_path, capsys):
    out = tmp_path / "results"
    command = ["compare", "--config", str(config("compare")), "--out", str(out)]
    assert fsl_explain.cli.app.run([*command, "--center", "supports"]) == 0
    assert SAID in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["provenance"]["centered_on"].endswith("supports")
    assert SAID in (out / "index.html").read_text()
    assert fsl_explain.cli.app.run(["table", str(out), "--layout", "lafam"]) == 0
    assert SAID in capsys.readouterr().out


def test_an_evaluation_is_centered_on_a_bank(config, tmp_path, capsys):
    path = config("evaluate")
    settings = read_config(path, EvaluationConfig)
    dataset, encoder = settings.data.open(), fsl_explain.Encoder.from_config(settings.encoder)
    retrieval_explain.MemoryBank.build(encoder, dataset, directory=tmp_path / "digits.bank")
    command = ["evaluate", "--config", str(path), "--set", f"center.directory={str(tmp_path / 'digits.bank')!r}"]
    out = ["--out", str(tmp_path / "results")]
    assert fsl_explain.cli.app.run([*command, *out]) == 0
    assert f"{len(dataset)} images of the bank digits.bank: {SAID}" in " ".join(capsys.readouterr().out.split())
    assert str(tmp_path) not in (tmp_path / "results" / "summary.json").read_text()


@pytest.mark.parametrize(
    ("command", "more", "sentence"),
    [
        ("evaluate", '[center]\nkind = "supports"\n', "supports can be centered on where all decisions have the same"),
        ("evaluate", '[center]\nkind = "bank"\n', "a center of kind 'bank' needs the directory of one"),
        ("evaluate", '[center]\ndirectory = "none.bank"\n', "none.bank is no folder"),
        (
            "retrieval",
            '[center]\ndirectory = "a.bank"\n[gallery]\nkind = "bank"\ndirectory = "b.bank"\n',
            "a stored bank keeps its embeddings as they are",
        ),
    ],
)
def test_a_center_that_does_not_fit_is_one_sentence(config, capsys, command, more, sentence):
    app = retrieval_explain.cli.app if command == "retrieval" else fsl_explain.cli.app
    name = "evaluate" if command == "retrieval" else command
    assert app.run([name, "--config", str(config(command, more))]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
