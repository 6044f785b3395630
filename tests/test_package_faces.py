"""What a package shows: no name stands for two things, and all that it lists is there."""

import ast
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

HEAVY = {"torch", "torchvision", "numpy", "PIL", "faiss", "matplotlib", "sklearn", "pyarrow", "scipy", "jaxtyping"}
ROOTS = ("episodes", "fsl_explain", "retrieval_explain")
PACKAGES = [
    *ROOTS,
    *(
        found.name
        for root in ROOTS
        for found in pkgutil.walk_packages(import_module(root).__path__, f"{root}.")
        if found.ispkg
    ),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_name_hides_a_module(name):
    package = import_module(name)
    modules = [found.name for found in pkgutil.iter_modules(package.__path__)]
    for module in modules:
        import_module(f"{name}.{module}")
    hidden = [module for module in modules if not isinstance(getattr(package, module), ModuleType)]
    listed = [module for module in modules if module in getattr(package, "__all__", ())]
    assert not hidden
    assert all(isinstance(getattr(package, module), ModuleType) for module in listed)


@pytest.mark.parametrize("name", PACKAGES)
def test_all_that_is_listed_is_there(name):
    package = import_module(name)
    for listed in getattr(package, "__all__", ()):
        assert hasattr(package, listed), listed
        assert listed in dir(package)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_stub_lists_what_the_package_lists(name):
    package = import_module(name)
    stub = Path(package.__file__).with_suffix(".pyi")
    if stub.exists():
        (listed,) = (
            ast.literal_eval(node.value)
            for node in ast.parse(stub.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
        )
        assert sorted(listed) == sorted(package.__all__)


@pytest.mark.parametrize("name", [*ROOTS, "fsl_explain.config", "fsl_explain.registries"])
def test_an_import_loads_nothing_heavy(name):
    code = f"import sys, {name}; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_face_shows_what_a_user_needs():
    shown = dir(import_module("fsl_explain"))
    assert {"Encoder", "Features", "explain", "saliency", "Explanation", "metrics", "Mistake", "__version__"} < set(
        shown
    )
    assert {"METHODS", "RULES", "SIMILARITIES", "POOLINGS", "Mahalanobis", "KnnVote", "relax", "RelaxOptions"} < set(
        shown
    )
    assert {"correspondence", "counterfactual", "support_audit"} < set(shown)
    assert not [name for name in shown if name.startswith("_") and name != "__version__"]
