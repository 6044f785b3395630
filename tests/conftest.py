"""Settings and real data shared by all tests."""

import sys
from pathlib import Path

import checked_calls
import elsewhere
import jaxtyping
import page_runner
import pytest
from hypothesis import settings

# What the import hook of jaxtyping decorates, it decorates from here on with this.
jaxtyping.jaxtyped = checked_calls.checked

settings.register_profile("project", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("project")

# fsl_explain.explainers.methods.relax, as an attribute, is the function
RELAX_MODULE = "fsl_explain.explainers.methods.relax"
needs, quiet, run_page = page_runner.needs, page_runner.quiet, page_runner.run_page
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser):
    elsewhere.add_options(parser)
    page_runner.add_options(parser)


def pytest_configure(config):
    elsewhere.imitate(config)


@pytest.fixture(autouse=True)
def few_masks(monkeypatch):
    """Let RELAX draw few masks where a test asks for no number, so that tests of every method stay quick."""
    if RELAX_MODULE in sys.modules:
        monkeypatch.setattr(sys.modules[RELAX_MODULE], "MASKS", 48)


def real_folder(name: str) -> Path:
    """Return a folder of real photographs, or skip the test, saying so."""
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the real data set {name} does not stand beside this checkout")
    return folder


@pytest.fixture(scope="session")
def cub10() -> Path:
    return real_folder("cub10")


@pytest.fixture(scope="session")
def tiny_imagenet_boxes() -> Path:
    return real_folder("tiny_imagenet_boxes")


@pytest.fixture(scope="session")
def pets() -> Path:
    return real_folder("pets")
