"""``fsl-explain explain`` with the decisions it can be told about."""

import pytest
import torch
from torchvision.utils import save_image

from fsl_explain.classifiers import StructuredDeepEMD
from fsl_explain.cli.app import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("species")
    generator = torch.Generator().manual_seed(0)
    for name, color in {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.9, 0.1), "blue": (0.1, 0.1, 0.9)}.items():
        (root / name).mkdir()
        for number in range(2):
            noise = 0.1 * torch.rand(3, 84, 84, generator=generator)
            save_image(torch.tensor(color)[:, None, None] * 0.9 + noise, root / name / f"{number}.png")
    return root


def explain(folder, out, *options):
    query = folder / "red" / "0.png"
    return run(["explain", str(query), "--support", str(folder), "--encoder", "conv4net", "--out", str(out), *options])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rule", "knn-vote", "--k", "5", "--temperature", "0.5"), ["how many voted", "red, support 2"]),
        (("--rule", "logistic-regression"), ["intercepts of the classifier"]),
        (("--rule", "nearest-neighbor", "--similarity", "mahalanobis"), ["red, support 1"]),
        (("--method", "verification", "--threshold", "0.5"), ["minus the threshold"]),
        (("--method", "log-probability", "--scale", "7"), ["minus the entropy"]),
        (("--rule", "prototype", "--similarity", "euclidean"), ["spread of the supports"]),
        (("--scales", "84,60"), ["at each scale", "84 pixels", "60 pixels", "residual of the scales"]),
        (("--scales", "84,60", "--support-scales", "84"), ["at each scale", "60 pixels", "residual of the scales"]),
        (("--method", "integrated-gradients"), ["integrated, ", "input of zeros (cells: pixels)"]),
        (("--method", "layercam@2", "--method", "fullgrad"), ["red, support 1"]),
        (("--scales", "84:1,60:3", "--rule", "prototype"), ["+0.750000", "60 pixels"]),
        (("--rule", "max-sim"), ["frozen: which cell of a support is the most similar"]),
        (("--rule", "frn", "--detail", "1"), ["frozen: the weights of the regression"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_prints_how_the_supports_add_up(folder, tmp_path, capsys, options, words):
    assert explain(folder, tmp_path / "page.html", *options) == 0
    printed = capsys.readouterr().out
    for word in [*words, "residual", "left out", "lead without it", "overtake"]:
        assert word in printed
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "How the supports add up" in page
    assert "What would have to be different" in page


@pytest.mark.parametrize("shots", [1, 2])
def test_a_rule_that_learns_from_several_supports_says_that_it_takes_long(folder, tmp_path, capsys, monkeypatch, shots):
    learned = StructuredDeepEMD(epochs=1)
    monkeypatch.setattr("fsl_explain.cli.explain.named_rule", lambda *_: learned)
    options = ("--rule", "deep-emd-sfc", "--shots", str(shots), "--method", "exact")
    assert explain(folder, tmp_path / "page.html", *options) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert ("learns anew without each" in said) == (shots > 1)
    assert ("deep-emd-sfc learns anew without each of the 6 supports; that may take minutes." in said) == (shots > 1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--rule", "prototype", "--k", "3"),
            "k belongs to the rule knn-vote or majority-vote, but the rule is prototype",
        ),
        (("--rule", "majority-vote", "--temperature", "1"), "temperature belongs to the rule knn-vote"),
        (("--rule", "knn-vote", "--k", "7"), "asked for 7 neighbors"),
        (("--threshold", "0.5"), "--threshold belongs to verification"),
        (("--scales", "84,x"), "expected different scales in pixels, such as 224,448"),
        (("--scales", "84:1,60"), "expected a weight for each scale or for none"),
        (("--scales", "84,60", "--support-scales", "x"), "expected a side in pixels, such as 224, or one for each"),
        (("--support-scales", "84"), "expected support_scales together with the scales of the query"),
        (("--detail", "-1"), "expected --detail of at least 0"),
        (("--biases", "apart"), "--biases apart is of finer maps, but --detail is 0"),
        (("--method", "verification"), "a verification needs the threshold"),
        (("--rule", "nearest"), "unknown rule 'nearest'"),
        (("--rule", "cosine-classifier", "--similarity", "euclidean"), "with a cosine classifier"),
        (("--similarity", "mahalanobis", "--method", "fam"), "fam needs a similarity that is a sum over channels"),
        (("--method", "log-probability", "--scale", "0"), "needs a scale above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_sentence(folder, tmp_path, capsys, options, sentence):
    assert explain(folder, tmp_path / "page.html", *options) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("readout", "words"), [("class", "class token"), ("mean", "bias"), ("integrated", "integrated, ")]
)
def test_a_transformer_is_explained_by_a_readout(folder, tmp_path, capsys, readout, words):
    query, out = folder / "red" / "0.png", tmp_path / "page.html"
    options = ("--encoder", "demo-vit", "--readout", readout, "--out", str(out))
    assert run(["explain", str(query), "--support", str(folder), *options]) == 0
    assert words in capsys.readouterr().out
    assert out.exists()
