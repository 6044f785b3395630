"""What the documents show is what the software does."""

import re
import runpy
import sys
from pathlib import Path

import jaxtyping
import pytest
from guide_similarity import Correlation
from tiny_encoder import HEADS, images, random_head, tiny_encoder

from fsl_explain import METHODS, RULES, explain

ROOT = Path(__file__).resolve().parents[1]
METHODS_PAGE, FINER_MAPS = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("how-to/methods.md", "finer_maps.md")
)
NUMBER = re.compile(r"^\(?[+-]?\d+(\.\d+)?(e[+-]\d+)?,?\)?\.?$")


def blocks(name, language="text"):
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def assert_prints_alike(printed, shown):
    """Same words; numbers agree to 2 in their last place but one; residuals, which are rounding, are only there."""
    assert len(printed.splitlines()) == len(shown.splitlines())
    for line, expected in zip(printed.splitlines(), shown.splitlines(), strict=True):
        if line.startswith("residual"):
            assert expected.startswith("residual")
            continue
        words, wanted = line.split(), expected.split()
        assert len(words) == len(wanted), (line, expected)
        for word, other in zip(words, wanted, strict=True):
            if NUMBER.match(word) and NUMBER.match(other):
                assert float(word.strip("(),.")) == pytest.approx(float(other.strip("(),.")), abs=3e-6), line
            else:
                assert word == other, (line, expected)


@pytest.fixture
def printed_by(monkeypatch, capsys):
    """Run a script of the documents as its command does, but in this process, which has everything imported."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks of annotations are the tests' alone

    def run(name, *arguments):
        path = str(ROOT / "docs" / name)
        monkeypatch.syspath_prepend(ROOT / "docs")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        capsys.readouterr()
        runpy.run_path(path, run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_the_worked_example_is_what_its_command_prints(printed_by):
    assert_prints_alike(printed_by("worked_example.py"), blocks("docs/what-the-numbers-mean.md")[0])


@pytest.mark.slow
def test_the_page_on_misleading_metrics_shows_what_its_command_prints(tmp_path, printed_by):
    """All but what removing pixels does, which takes minutes."""
    printed = printed_by("misleading_metrics.py", "--quick", "--figures", str(tmp_path))
    points, _, references = blocks("docs/when-metrics-mislead.md")
    assert_prints_alike(printed, points + "\n" + references)
    assert {"trivial-maps.png", "reference-randomization.png"} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_page_of_decisions_runs(monkeypatch, capsys):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    names = {}
    for code in blocks("docs/decisions.md", "python"):
        exec(code, names)
    residuals = re.findall(r"^residual +(\S+)", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(residuals) == 8
    assert all(float(residual) < 1e-12 for residual in residuals)


@pytest.mark.parametrize("name", RULES)
def test_the_page_of_decisions_names_every_rule(name):
    assert f"`{name}`" in (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")


def test_the_figures_are_small_and_shown():
    figures = list((ROOT / "docs" / "figures").glob("*.png"))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    assert {"trivial-maps.png", "reference-randomization.png", "removal-curves.png"} <= {file.name for file in figures}
    for file in figures:
        assert file.stat().st_size < 150_000
        assert f"figures/{file.name}" in text


@pytest.mark.parametrize("head", HEADS)
def test_the_similarity_of_the_guide_adds_up(head):
    encoder = tiny_encoder(random_head(head))
    supports = {"a": images(3, seed=20), "b": images(1, seed=21)}
    for rule in ("mean-similarity", "prototype", "knn-vote"):
        found = explain(encoder, images(2, seed=10), supports, method="contrast", rule=rule, similarity=Correlation())
        assert (found.residual <= 1e-10 * found.absolute_sum + 1e-14).all()  # classes may tie: then all addends are 0
        assert found[0].receipt().residual <= 1e-10 * found[0].receipt().absolute_sum + 1e-14


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_methods_names_every_method(name):
    (listed,) = re.findall(
        r"^Every method, by name.*?(?=^Without supports)", METHODS_PAGE, flags=re.DOTALL | re.MULTILINE
    )
    assert f"`{name}`" in listed
    if METHODS[name].differentiates and "@" not in name:
        (section,) = re.findall(r"^## Other sharp maps\n(.*?)(?=^## |\Z)", FINER_MAPS, flags=re.DOTALL | re.MULTILINE)
        assert f"`{name}`" in section
