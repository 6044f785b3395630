"""A checkpoint in the layout of NPID's official code, which saves its memory as a live object."""

import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import nn


class NCEAverage(nn.Module):
    """The memory, with a trap: to rebuild it makes the folder ``marker``."""

    marker = ""

    def __init__(self, memory):
        super().__init__()
        self.nLem = len(memory)
        self.register_buffer("params", torch.tensor([4096.0, 0.07, -1.0, 0.5]))
        self.register_buffer("memory", memory)
        self.bias = nn.Parameter(torch.arange(3.0))
        self.multinomial = AliasMethod(len(memory))

    def __setstate__(self, state):
        Path(self.marker).mkdir()


class AliasMethod:
    def __init__(self, count):
        self.prob, self.alias = torch.rand(count), torch.arange(count)


@contextmanager
def official_names():
    """Give the classes their official modules, ``lib.NCEAverage`` and ``lib.alias_multinomial``, for the block."""
    homes = {"lib.NCEAverage": NCEAverage, "lib.alias_multinomial": AliasMethod}
    here = NCEAverage.__module__
    sys.modules["lib"] = ModuleType("lib")
    for home, kind in homes.items():
        sys.modules[home] = ModuleType(home)
        setattr(sys.modules[home], kind.__name__, kind)
        kind.__module__ = home
    try:
        yield
    finally:
        for home, kind in homes.items():
            del sys.modules[home]
            kind.__module__ = here
        del sys.modules["lib"]


def npid_content(memory, state):
    return {
        "epoch": 200,
        "arch": "resnet18",
        "state_dict": state,
        "lemniscate": NCEAverage(memory),
        "best_prec1": torch.tensor(46.5),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
    }


def save_npid(path, memory, state, zipped=False):
    with official_names(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the sources of the classes are not at hand
        torch.save(npid_content(memory, state), path, _use_new_zipfile_serialization=zipped)
