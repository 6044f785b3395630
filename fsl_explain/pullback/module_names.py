"""The name of the module in which an operation of a forward pass stands."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class _Counting(TorchDispatchMode):
    """Counts operations, and looks which module runs at one of them."""

    def __init__(self, call: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of PyTorch
        self.call, self.calls = call, 0
        self.running: list[str] = []
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: tuple[type, ...], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute as always."""
        self.calls += 1
        if self.calls == self.call:
            self.found += self.running[-1:]
        return func(*args, **(kwargs or {}))


def module_at(network: nn.Module, call: int, forward: Callable[[], object]) -> str | None:
    """Return name and type of the module that runs at an operation of a forward pass of a network, None for none."""
    with _hooked(network, _Counting(call)) as counting:
        forward()
    return counting.found[0] if counting.found else None


@contextmanager
def _hooked(network: nn.Module, counting: _Counting) -> Iterator[_Counting]:
    with ExitStack() as hooks:
        for name, module in network.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue

            def begin(module: nn.Module, _args: Any, name: str = name) -> None:
                counting.running.append(f"{name or 'itself'} ({type(module).__name__})")

            def end(*_: Any) -> None:
                counting.running.pop()

            hooks.callback(module.register_forward_pre_hook(begin).remove)
            hooks.callback(module.register_forward_hook(end, always_call=True).remove)
        with counting:
            yield counting
