"""What other libraries do to FAISS."""

import importlib
import sys

import faiss
import pytest


@pytest.fixture
def methods_that_take_tensors():
    """What importing ``faiss.contrib.torch_utils`` leaves of every index, undone afterwards."""
    module, name = faiss, "faiss.contrib.torch_utils"
    owners = [module, *(kind for kind in vars(module).values() if isinstance(kind, type))]
    before, imported = [dict(vars(owner)) for owner in owners], sys.modules.pop(name, None)
    if imported is None:
        importlib.import_module(name)
    yield
    sys.modules.pop(name, None)
    if imported is not None:  # by another test's library: its methods stay
        sys.modules[name] = imported
        return
    for owner, attributes in zip(owners, before, strict=True):
        for added in vars(owner).keys() - attributes.keys():
            delattr(owner, added)
        for attribute, value in attributes.items():
            if vars(owner)[attribute] is not value:
                setattr(owner, attribute, value)
