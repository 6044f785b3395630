"""The shape of the project: short files named after things, one home per equation, one spelling."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("episodes", "fsl_explain", "retrieval_explain")
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
GRAB_BAGS = {"utils", "util", "helpers", "common", "misc", "tools", "base", "core", "shared"}
EQUATIONS = [
    *(f"FAM Eq. {number}" for number in (11, 12, 13, 14, 15, 18, 19, 20, 21, 22)),
    "LaFAM Eq. 1",
    "LaFAM Eq. 2",
]
BRITISH = {"norm" + "alis", "neigh" + "bour", "col" + "our", "cent" + "re", "behav" + "iour", "vis" + "ualis"}
HOSTS = ("pypi" + ".org", "python" + "hosted", "arti" + "factory", "download.pytorch" + ".org", "index-" + "url")
MACHINE_PATHS = re.compile(r"(?<![\w.~/])/(?:work|tmp|home|root|mnt|Users)/[\w.]")
TEXT = {".py", ".md", ".toml", ".txt", ".lock", ".html", ".csv", ".cfg", ".yml", ".yaml", ".json", ".ipynb", ""}

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def tracked_files():
    """Every file of the checkout that git tracks or would track; without git, every source and document."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in (*SOURCES, *TESTS, *ROOT.glob("*.md"), *ROOT.glob("*.toml"))]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


TRACKED = [path for path in tracked_files() if path.suffix in TEXT]


def nodes(path, *kinds):
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]


def docstrings(path):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [text for node in nodes(path, *kinds) if (text := ast.get_docstring(node))]


def nesting(statements):
    """The deepest level of indentation inside a list of statements."""
    deepest = 0
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inner = [getattr(statement, name, []) for name in ("body", "finalbody")]
        inner += [handler.body for handler in getattr(statement, "handlers", [])]
        inner += [case.body for case in getattr(statement, "cases", [])]
        alternative = getattr(statement, "orelse", [])
        chained = isinstance(statement, ast.If) and len(alternative) == 1 and isinstance(alternative[0], ast.If)
        levels = [1 + nesting(block) for block in inner if block]
        levels += [nesting(alternative) if chained else 1 + nesting(alternative)] if alternative else []
        deepest = max([deepest, *levels])
    return deepest


def test_there_is_something_to_check():
    assert len(SOURCES) > 50
    assert ROOT / "README.md" in TRACKED
    assert nesting(ast.parse("for a in b:\n  if a:\n    c\n  elif d:\n    with e:\n      f").body) == 3


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short_and_named_after_a_thing(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300
    assert path.stem not in GRAB_BAGS
    assert not GRAB_BAGS & set(path.relative_to(ROOT).parts)


@every_source
def test_functions_are_short_and_flat(path):
    for function in nodes(path, ast.FunctionDef, ast.AsyncFunctionDef):
        statements = function.body[1:] if ast.get_docstring(function) else function.body
        length = statements[-1].end_lineno - statements[0].lineno + 1 if statements else 0
        assert length <= 45, f"{function.name} has {length} lines"
        assert nesting(statements) <= 3, f"{function.name} is nested {nesting(statements)} levels deep"


@pytest.mark.parametrize("tag", EQUATIONS)
def test_every_equation_has_one_home(tag):
    homes = [f"{path.relative_to(ROOT)}" for path in SOURCES for text in docstrings(path) if f"({tag})" in text]
    assert len(homes) == 1, homes


def test_every_tag_is_of_a_known_equation():
    for path in SOURCES:
        for tag in re.findall(r"\(((?:La)?FAM Eq\. \d+)\)", path.read_text(encoding="utf-8")):
            assert tag in EQUATIONS, f"{tag} in {path.name}"


def test_the_data_sets_know_nothing_of_the_explanations():
    for path in sorted((ROOT / "episodes").rglob("*.py")):
        imported = {alias.name for node in nodes(path, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in nodes(path, ast.ImportFrom)}
        assert not any(name.startswith(("fsl_explain", "retrieval_explain")) for name in imported), path


@every_source
def test_only_the_command_line_prints(path):
    if "cli" in path.relative_to(ROOT).parts or path.stem == "cli":
        pytest.skip("the command line prints results")
    calls = [node.func.id for node in nodes(path, ast.Call) if isinstance(node.func, ast.Name)]
    assert "print" not in calls


@every_source
def test_modules_say_what_they_are_and_annotations_are_evaluated(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no module docstring"
    assert not any(node.module == "__future__" for node in nodes(path, ast.ImportFrom))


@pytest.mark.parametrize("path", TRACKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_has_one_spelling_and_names_no_host_and_no_machine(path):
    text = path.read_text(encoding="utf-8")
    if path == Path(__file__).resolve():
        return
    words = [word for word in BRITISH if re.search(rf"{word}", text, flags=re.IGNORECASE)]
    assert not words, f"British spelling: {words}"
    assert not [host for host in HOSTS if host in text]
    assert not MACHINE_PATHS.findall(text)
    assert "\t" not in text or path.name == "Makefile" or path.suffix == ".csv"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


def test_test_files_have_unique_names():
    """Without packages pytest tells test files apart by their names alone."""
    names = [path.name for path in TESTS if path.parent.name != "references"]
    assert sorted(names) == sorted(set(names))
