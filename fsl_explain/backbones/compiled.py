"""Forward passes that ``torch.compile`` has compiled: one graph of a network, and what is read of its layers.

Hooks that come later are passed over by compiled code. What is compiled is therefore a second network of the same
weights, whose layers are hooked once and for all; the network itself stays as it is, for derivatives, for finer maps
and for whatever else listens to its layers.
"""

import copy
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from itertools import chain
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.wrappers import COMPILING
from fsl_explain.turns import alone

COMPILED = "compiled"
Forward = Callable[[Tensor], Any]
Hooked = Callable[[nn.Module, Any], Forward]
OF_EACH_SYSTEM = {"win32": "cl", "darwin": "clang++"}


class CompiledPass:
    """One forward pass of a network, compiled when the first images come, which takes from seconds to minutes.

    It is compiled once for single images and once for batches of any other size, and once more for images of another
    side; from then on any side will do. A copy, also in another process, compiles for itself, which is faster where
    PyTorch finds its own files of an earlier time. ``hooked`` is given the second network with its ``parts``, and
    returns the function to be compiled.
    """

    def __init__(self, network: nn.Module, parts: Any, hooked: Hooked, description: str) -> None:
        """Compile nothing yet."""
        self.network: nn.Module = network
        self.parts: Any = parts
        self.hooked: Hooked = hooked
        self.description: str = description
        self._known: tuple[list[int], Forward] | None = None

    def __call__(self, images: Tensor, plain: Forward) -> Any:
        """Return what the compiled pass reads of placed images; ``plain`` is the same pass of the network itself.

        The latter runs where derivatives are wanted, and for images of more shapes than PyTorch compiles for.

        Raises: ``ValueError`` for a network that cannot be compiled.
        """
        if len(images) == 0 or torch.is_grad_enabled():
            return plain(images)
        try:
            with alone([COMPILING]):
                return self._function()(_of_any_length(images))
        except Exception as error:  # a compiler may fail in any way
            found = plain(images)  # raises what the network itself does
            if type(error).__name__ == "FailOnRecompileLimitHit":
                return found
            raise Mistake(
                f"{self.description}: expected a network that PyTorch compiles as one graph for "
                f"inference={COMPILED!r}, but got {_first_line(error)}; use inference='folded'."
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was compiled, which belongs to these very tensors."""
        return self.__dict__ | {"_known": None}

    def _function(self) -> Forward:
        tensors = list(chain(self.network.parameters(), self.network.buffers()))
        now = [id(one) for one in tensors]
        if self._known is None or self._known[0] != now:  # buffers are replaced when a network is moved
            second, parts = copy.deepcopy((self.network, self.parts), {id(one): one for one in tensors})
            self._known = now, torch.compile(_apart(self.hooked(second, parts)), fullgraph=True)
        return self._known[1]


def expect_compiler() -> None:
    """Raise ``ValueError`` where no C++ compiler is found and no accelerator that could do without one."""
    name = os.environ.get("CXX") or OF_EACH_SYSTEM.get(sys.platform, "g++")
    if shutil.which(shlex.split(name)[0]) is None and not torch.accelerator.is_available():
        raise Mistake(
            f"expected a C++ compiler for inference={COMPILED!r}, but {name} is not found; install it, name another "
            "one in the variable CXX, or use inference='folded'."
        )


def _apart(function: Forward) -> Forward:
    """Return a function with code of its own: what is compiled is counted by code, which other encoders would share."""
    plain = cast("FunctionType", function)
    return FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )


def _of_any_length(images: Tensor) -> Tensor:
    """Mark a batch as one of many sizes, on a tensor that nobody else has."""
    marked = images.detach()
    torch._dynamo.maybe_mark_dynamic(marked, 0)
    return marked


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
