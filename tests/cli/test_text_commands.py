"""The commands by text, with an encoder from a file."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny_clip import tiny_clip
from torchvision.utils import save_image

from episodes import read_image
from fsl_explain import explain
from fsl_explain.cli.app import run
from fsl_explain.explainers.prompts import prompts_from_text
from retrieval_explain.cli.app import run as run_retrieval

FIXTURES = Path(__file__).parents[1] / "fixtures"
OWN = "from tiny_clip import tiny_clip\n\n\ndef clip():\n    return tiny_clip('clip')[1]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("by_text")
    shutil.copy(FIXTURES / "tiny_clip.py", root)
    (root / "own.py").write_text(OWN, encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    for name in ("red", "green"):
        (root / "images" / name).mkdir(parents=True)
        for number in range(2):
            save_image(torch.rand(3, 32, 32, generator=generator), root / "images" / name / f"{number}.png")
    encoder = f"{root / 'own.py'}:clip"
    assert run_retrieval(["build", str(root / "images"), "--bank", str(root / "bank"), "--encoder", encoder]) == 0
    return root


def encoder(folder):
    return ("--encoder", f"{folder / 'own.py'}:clip")


def image(folder):
    return str(folder / "images" / "red" / "0.png")


def test_an_image_is_explained_by_prompts(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    prompts = ("--text", "a red bird", "--text", "<b>grass</b>", "--text", "dog")
    assert run(["explain", image(folder), *prompts, *encoder(folder), "--out", str(page)]) == 0
    printed = capsys.readouterr().out
    for word in ("a red bird", "<b>grass</b>", "residual", "lead of"):
        assert word in printed
    text = page.read_text(encoding="utf-8")
    for word in (
        "<h3>Prompts</h3>",
        "&lt;b&gt;grass&lt;/b&gt;",
        "The supports are texts here",
        "Adds up to the score.",
    ):
        assert word in text
    assert "support 1" not in text
    assert "no photographs were given" not in text


def test_a_class_may_have_several_prompts(folder, tmp_path, capsys):
    """As ``explain(text={"bird": [...], "dog": ...})`` has them; a class that comes again gets more."""
    texts = ("--text", "bird=a photo of a bird|a drawing of a bird", "--text", "bird=feathers", "--text", "dog")
    command = ["explain", image(folder), *texts, *encoder(folder), "--rule", "prototype"]
    assert run([*command, "--out", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr()
    assert "with 4 prompts of 2 classes" in printed.err
    found = tiny_clip("clip")[1]
    groups = {"bird": ["a photo of a bird", "a drawing of a bird", "feathers"], "dog": "dog"}
    picture = found.preprocess([read_image(image(folder))])[0]
    expected = explain(found, picture, text=groups, rule="prototype")
    for name, score in zip(expected.decision.classes, expected.decision.scores, strict=True):
        assert re.search(rf"{name}\W+{float(score):.4f}", printed.out), (name, score, printed.out)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("cat", "dog"), ["cat", "dog"]),
        (("cat=a cat | a kitten", "dog", "cat=fur"), {"cat": ["a cat", "a kitten", "fur"], "dog": ["dog"]}),
        (("=1+1=2", "=a|b"), {"1+1=2": ["1+1=2"], "a|b": ["a|b"]}),
    ],
    ids=str,
)
def test_prompts_are_read_by_class(given, expected):
    assert prompts_from_text(given) == expected


@pytest.mark.parametrize("given", ["cat=", "cat=a||b", "cat=a|a", "="], ids=str)
def test_prompts_that_are_empty_or_repeat_are_one_sentence(folder, capsys, given):
    assert run(["explain", image(folder), "--text", given, *encoder(folder)]) == 2
    assert "expected CLASS=PROMPT|PROMPT with prompts that differ, but" in capsys.readouterr().err


def test_the_scale_is_the_models_own_unless_given(folder, tmp_path, capsys):
    command = ["explain", image(folder), "--text", "bird", "--text", "dog", *encoder(folder)]
    command += ["--method", "log-probability", "--out", str(tmp_path / "page.html")]
    assert run(command) == 0
    own = capsys.readouterr().out
    assert run([*command, "--scale", "1"]) == 0
    assert capsys.readouterr().out != own


def test_a_bank_is_searched_by_text(folder, tmp_path, capsys):
    out = tmp_path / "found.json"
    command = ["search", "--text", "a red bird", "--bank", str(folder / "bank"), *encoder(folder), "-k", "3"]
    assert run_retrieval([*command, "--out", str(out)]) == 0
    assert "Most similar to “a red bird”" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["text"] == "a red bird"
    assert [one["rank"] for one in found["neighbors"]] == [1, 2, 3]


def test_several_prompts_are_searched_as_one(folder, tmp_path, capsys):
    out, page = tmp_path / "found.json", tmp_path / "page.html"
    of_bank = ("--bank", str(folder / "bank"), *encoder(folder))
    prompts = ("--text", "a red bird", "--text", "bird on grass")
    assert run_retrieval(["search", *prompts, *of_bank, "-k", "3", "--out", str(out)]) == 0
    assert "Most similar to “a red bird | bird on grass”" in capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["text"] == ["a red bird", "bird on grass"]
    assert run_retrieval(["search", *prompts[:2], *of_bank, "-k", "3", "--out", str(out)]) == 0
    alone = json.loads(out.read_text(encoding="utf-8"))
    assert [one["similarity"] for one in found["neighbors"]] != [one["similarity"] for one in alone["neighbors"]]
    assert run_retrieval(["inspect", *prompts, *of_bank, "--explained", "1", "--out", str(page)]) == 0
    assert "Why did these come back for “a red bird | bird on grass”?" in page.read_text(encoding="utf-8")


def test_a_text_is_inspected(folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    command = ["inspect", "--text", "a <i>red</i> bird", "--bank", str(folder / "bank"), *encoder(folder)]
    assert run_retrieval([*command, "--explained", "2", "--out", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "Most similar to “a <i>red</i> bird”" in printed
    text = page.read_text(encoding="utf-8")
    assert "Why did these come back for “a &lt;i&gt;red&lt;/i&gt; bird”?" in text
    assert text.count("Adds up to the score.") == 2
    assert 'href="#match-2"' in text
    assert 'id="match-2"' in text
    assert 'alt="map of exact over image 1"' in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "expected --support FOLDER or --text PROMPT to compare the image with, but got none of them"),
        (("--text", "dog", "--support", "images"), "to compare the image with, but got both"),
        (("--text", "dog", "--shots", "1"), "--shots is about images, but the supports are prompts; drop it"),
        (("--text", "dog", "--center", "supports"), "--center is about images, but the supports are prompts"),
        (("--text", "dog", "--text", "dog"), "expected prompts that differ, but 'dog' comes more than once"),
        (("--text", "dog", "--target", "cow"), "cow"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_is_one_sentence(folder, capsys, options, sentence):
    assert run(["explain", image(folder), *options, *encoder(folder)]) == 2
    assert sentence in capsys.readouterr().err


def test_an_encoder_without_texts_is_one_sentence(folder, tmp_path, capsys):
    command = ["explain", image(folder), "--text", "dog", "--encoder", "conv4net", "--out", str(tmp_path / "page.html")]
    assert run(command) == 2
    assert "has no text tower" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "inspect"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "expected an image or --text to search for, but got none of them; give one of the two"),
        (("--text", "dog", "IMAGE"), "expected an image or --text to search for, but got both"),
        (("--text", "dog", "--leave-self-out"), "--leave-self-out belongs to the search for an image"),
        (("--text", "dog", "--box", "0", "0", "9", "9"), "--box belongs to the search for an image"),
    ],
    ids=str,
)
def test_what_cannot_be_searched_is_one_sentence(folder, capsys, command, options, sentence):
    given = [image(folder) if option == "IMAGE" else option for option in options]
    assert run_retrieval([command, *given, "--bank", str(folder / "bank"), *encoder(folder)]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--expected", "red"), ("-k", "3"), ("--temperature", "1")], ids=str)
def test_a_text_has_no_vote(folder, capsys, options):
    command = ["inspect", "--text", "dog", "--bank", str(folder / "bank"), *encoder(folder), *options]
    assert run_retrieval(command) == 2
    assert "belongs to the search for an image, but a text is searched for" in capsys.readouterr().err
