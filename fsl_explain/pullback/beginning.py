"""Where a forward pass need be watched from: the last module that begins before the finer maps are made."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fsl_explain.pullback.replay import Replay


@dataclass(frozen=True)
class Beginning:
    """One call of a module in a forward pass."""

    module: nn.Module
    visit: int  # of that module, from 0
    calls: int  # operations of the pass before it


@contextmanager
def noted_beginnings(network: nn.Module, calls: Callable[[], int]) -> Iterator[list[Beginning]]:
    """Write down each call of a module while the block runs, and how many operations there were before it."""
    found: list[Beginning] = []
    visits: dict[nn.Module, int] = {}

    def note(module: nn.Module, _args: Any) -> None:
        found.append(Beginning(module, visits.get(module, 0), calls()))
        visits[module] = visits.get(module, 0) + 1

    with ExitStack() as hooks:
        for module in network.modules():
            if not isinstance(module, torch.jit.ScriptModule):
                hooks.callback(module.register_forward_pre_hook(note).remove)
        yield found


def last_before(found: list[Beginning], call: int) -> Beginning | None:
    """Return the last of these in which the operation of a number, from 1, is still to come."""
    return max((one for one in found if one.calls < call), key=lambda one: one.calls, default=None)


@contextmanager
def watching(replay: Replay, beginning: Beginning | None) -> Iterator[None]:
    """Compare a forward pass from a call of a module on, or all of it; where it does not come, nothing is compared."""
    if beginning is None:
        with replay:
            yield
        return
    outside = len(_get_current_dispatch_mode_stack())
    visits = 0
    with ExitStack() as entered:

        def enter(*_: Any) -> None:
            nonlocal visits
            is_its_turn, visits = visits == beginning.visit, visits + 1
            if is_its_turn and len(_get_current_dispatch_mode_stack()) == outside:
                replay.calls = beginning.calls
                entered.enter_context(replay)

        hook = beginning.module.register_forward_pre_hook(enter)
        try:
            yield
        finally:
            hook.remove()
