"""Training in several processes, one for each GPU, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.training.seeds import seeded


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the processes that ``torchrun`` has started while the block runs; without it a process is alone.

    Raises: ``ValueError`` for a numbered device in several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if ":" in device:
        raise Mistake(f"expected run.device 'cuda' in several processes, but got {device!r}; each takes its own.")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # The others wait while the first one measures the accuracy.
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=12))
    try:
        yield
    finally:
        dist.destroy_process_group()


def own_device(device: str) -> torch.device:
    """Return the device of this process: the one asked for, or of several processes on GPUs each its own.

    Raises: ``ValueError`` for a device that is not there.
    """
    number = f":{os.environ['LOCAL_RANK']}" if processes() > 1 and device == "cuda" else ""
    try:
        own = torch.device(f"{device}{number}")
        torch.empty(0, device=own)
    except (RuntimeError, AssertionError) as error:
        raise Mistake(f"expected a device this machine has, but got {device!r}; use cpu.") from error
    return own


def rank() -> int:
    """Return this process's number, 0 alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """Return how many processes train together, 1 alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def own_share() -> slice:
    """Return which parts of a batch are this process's: the processes take turns."""
    return slice(rank(), None, processes())


def gathered(values: Tensor) -> Tensor:
    """Return the rows of all processes, in the order in which they took turns; without gradients."""
    return values.detach() if processes() == 1 else _in_turns(_parts(values.detach()))


def gathered_to_learn(values: Tensor) -> Tensor:
    """Return the rows of all processes, in the order in which they took turns; gradients flow to this process's rows.

    They are multiplied by the number of processes, over which the gradients of the parameters are averaged later: so a
    loss of all rows, computed in every process, has the gradient that it has in one.
    """
    if processes() == 1:
        return values
    count, own = processes(), values.clone()
    own.register_hook(lambda gradient: count * gradient)
    parts = _parts(values.detach())
    parts[rank()] = own
    return _in_turns(parts)


@contextmanager
def same_chance(device: torch.device) -> Iterator[None]:
    """Let PyTorch's random numbers in the block be the same in all processes; they follow from the first one's."""
    seed = gathered(torch.randint(2**62, (1,)).to(device))[0]
    with seeded(int(seed), device=device):
        yield


def _parts(values: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(processes())]
    dist.all_gather(parts, values.contiguous())
    return parts


def _in_turns(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts, dim=1).flatten(0, 1)
