"""What a package shows: no name stands for two things, and all that it lists is there."""

import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

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
