"""Networks inside of what runs them otherwise: compiled, or on several devices."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from fsl_explain.turns import alone

COMPILING = "whether PyTorch compiles"


def on_one_device(network: nn.Module) -> nn.Module:
    """Return the network inside of ``DataParallel`` and its kin, which would run parts of a batch in other threads."""
    while isinstance(network, DataParallel | DistributedDataParallel):
        network = network.module
    return network


@contextmanager
def without_compilation(network: nn.Module) -> Iterator[None]:
    """Run the block with the network's Python code, because compiled code passes over hooks that came later."""
    dynamo = sys.modules.get("torch._dynamo")  # else nothing was compiled, and to import it takes seconds
    if dynamo is None or not any(_is_compiled(module, dynamo) for module in network.modules()):
        yield
        return
    with alone([COMPILING]), torch.compiler.set_stance("force_eager"):
        yield


def _is_compiled(module: nn.Module, dynamo: ModuleType) -> bool:
    return module._compiled_call_impl is not None or isinstance(module, dynamo.OptimizedModule)
