"""What a release says of itself agrees: version, changelog, citation, archives, image recipe."""

import re
import tomllib
from pathlib import Path

import pytest

import episodes
import fsl_explain
import retrieval_explain
from fsl_explain.cli.app import run as run_explain
from retrieval_explain.cli.app import run as run_retrieval

ROOT = Path(__file__).resolve().parents[2]
VERSION = episodes.__version__


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", VERSION)
    assert fsl_explain.__version__ is VERSION
    assert retrieval_explain.__version__ is VERSION
    project = tomllib.loads(text("pyproject.toml"))
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "episodes.__version__"}


@pytest.mark.parametrize("run", [run_explain, run_retrieval])
def test_both_commands_say_it(run, capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == VERSION


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version():
    headings = re.findall(r"^## \[(.+?)\]", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert not headings[1:] or headings[1] == VERSION
    kinds = set(re.findall(r"^### (\w+)", text("CHANGELOG.md"), flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_of_this_version_and_whole():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load(text("CITATION.cff"))
    assert cited["version"] == VERSION
    assert cited["license"] == tomllib.loads(text("pyproject.toml"))["project"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert all(work["title"] and work["authors"] and work["year"] for work in cited["references"])


def test_the_image_recipe_copies_what_is_there_for_both_devices_and_runs_without_rights():
    lines = text("Containerfile").splitlines()
    stages = [line.split(" AS ")[1] for line in lines if line.startswith("FROM")]
    assert {"cpu", "gpu"} <= set(stages)
    for line in lines:
        if line.startswith("COPY --from="):
            assert line.split()[1].removeprefix("--from=") in stages
        elif line.startswith("COPY"):
            *sources, _ = line.split()[1:]
            assert all((ROOT / source).exists() for source in sources), line
    runtime = lines[next(at for at, line in enumerate(lines) if line.endswith(" AS runtime")) :]
    assert "USER explainer" in runtime
    assert not any(line.startswith("USER root") for line in runtime)


def test_every_python_that_is_said_to_do_is_allowed():
    project = tomllib.loads(text("pyproject.toml"))["project"]
    pythons = [name.rpartition(" ")[2] for name in project["classifiers"] if name.startswith("Programming Language")]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert project["requires-python"] == f">={pythons[0]}"
    assert all(python in text("docs/policy.md") for python in pythons)
