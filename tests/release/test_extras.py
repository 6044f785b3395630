"""Without its extra a feature says in one sentence which one to install; without all of them the rest works.

Packages are hidden in a process of its own, by name, before anything is imported.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from extras import EXPLAINED, NEEDING, PACKAGES

ROOT = Path(__file__).resolve().parents[2]
HIDING = """
import json, sys
from importlib.abc import MetaPathFinder
hidden = set(json.loads(sys.argv[1]))
class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
BY_COMMAND = "from {0}.cli.app import run; run({1!r})"
CATCHING = """
from episodes.errors import MissingPackage
try:
    exec(sys.argv[2])
except MissingPackage as error:
    print(error)
"""


def without(packages, code, *arguments):
    """Run Python code in a process in which some packages cannot be imported; return what it printed."""
    command = [sys.executable, "-c", HIDING + code, json.dumps(sorted(packages)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def extras():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    return set(named) - {"dev", "oracles", "docs"}  # of those who work on the project


def test_every_extra_is_tested():
    assert set(PACKAGES) == set(NEEDING) == extras()


@pytest.mark.parametrize("extra", PACKAGES)
def test_without_it_one_sentence_names_it(extra, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    use = NEEDING[extra].replace("{folder}", str(tmp_path))
    said = without(PACKAGES[extra], (EXPLAINED if "explained" in use else "") + CATCHING, use)
    assert said.endswith(f"not installed here; run: pip install 'fsl-explain[{extra}]'.\n")
    assert said.count("\n") == 1


def test_without_any_of_them_all_three_packages_explain():
    hidden = {package for packages in PACKAGES.values() for package in packages}
    code = f"import episodes, retrieval_explain\n{EXPLAINED}\nwhy = explained()\n"
    code += "print(why.decision.name, float(why.residual) < 1e-5, [name for name in hidden if name in sys.modules])"
    name, small, loaded = without(hidden, code).split(maxsplit=2)
    assert name in ("one", "other")
    assert (small, loaded.strip()) == ("True", "[]")


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("fsl_explain", ["config", "evaluate"]),
        ("retrieval_explain", ["config", "evaluate"]),
        ("fsl_explain", ["explain", "--help"]),
        ("retrieval_explain", ["serve", "--help"]),
    ],
)
def test_without_any_of_them_the_commands_answer(package, arguments):
    hidden = {package for packages in PACKAGES.values() for package in packages}
    assert len(without(hidden, BY_COMMAND.format(package, arguments)).split()) > 30
