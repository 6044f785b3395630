"""A network that nobody trained is said in the terminal, in every table, on the page and in the summary."""

import json

import pytest
from PIL import Image
from small_settings import DATA, SETTINGS, SMALL

from fsl_explain import Encoder
from fsl_explain.cli.app import run
from fsl_explain.config import HeadConfig
from fsl_explain.evaluation.results.read_back import read_results
from retrieval_explain.cli.app import run as run_retrieval

WORDS = "network has random weights"


@pytest.mark.parametrize("command", ["evaluate", "compare", "mosaics"])
def test_every_command_that_measures_says_it(command, tmp_path, capsys):
    config, out = tmp_path / "config.toml", tmp_path / "out"
    config.write_text(DATA + SMALL + SETTINGS[command], encoding="utf-8")
    assert run([command, "--config", str(config), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert WORDS in printed.err.splitlines()[0]
    assert WORDS in printed.out
    assert WORDS in (out / "index.html").read_text(encoding="utf-8")
    assert json.loads((out / "summary.json").read_text())["provenance"]["random_weights"] == ["network"]
    if command == "evaluate":
        assert WORDS in read_results(out)[0].caveats[0]


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("conv4net", None, ("network",)),
        ("torchvision:resnet18", None, ("network",)),
        ("torchvision:resnet18", HeadConfig(kind="linear", width=4), ("network", "head")),
        ("conv4net", HeadConfig(kind="linear", width=4), ("network", "head")),
    ],
)
def test_an_encoder_knows_its_random_parts(name, head, expected):
    assert Encoder.named(name, head=head, size=32).random == expected


def test_a_name_that_stands_for_a_trained_network_needs_its_weights(tmp_path, capsys):
    image = tmp_path / "images" / "wren" / "0.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(image)
    asked = ("--encoder", "torchvision:resnet18")
    for answer in (
        run(
            [
                "explain",
                str(image),
                "--support",
                str(tmp_path / "images"),
                "--out",
                str(tmp_path / "p"),
                *asked,
            ]
        ),
        run_retrieval(["build", str(tmp_path / "images"), "--bank", str(tmp_path / "b"), *asked]),
    ):
        assert answer == 2
    sentence = "expected trained weights for torchvision:resnet18, but got none, so that they would be random; give"
    assert capsys.readouterr().err.count(sentence) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
