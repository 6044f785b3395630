"""Settings and real data shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("project")

SHARED = Path(__file__).resolve().parents[2] / "shared"


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
