"""What a network itself goes on to do with the maps of the explained layer, beside the embedding that is compared."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.devices import at_hand, in_full_precision

IGNORE = "ignore"
NETWORK = "network"
TAILS = (IGNORE, NETWORK)
CLOSE = 0.02  # of the norm; bfloat16 rounds by less
OF_A_CLASSIFIER = "Linear"


class TailWarning(UserWarning):
    """The network goes on from the explained layer to something else than the embedding that is compared."""


class Tail:
    """What an encoder learns in its first forward pass of what its network does behind the explained layer.

    It is silent where the network returns the maps, their pooled values or the embedding, and where its last linear
    layer, its classifier, reads them: then what is compared is the penultimate feature. A network that scales its
    output to norm 1 compares that itself, so its last linear layer is no classifier. With ``tail="network"`` what the
    network returns is the pooled value, and nothing is left to be said.
    """

    def __init__(self, description: str, tail: str | None, *, silent: bool) -> None:
        """Raise ``LookupError`` for a ``tail`` that is neither None nor one of ``TAILS``."""
        if tail is not None and tail not in TAILS:
            raise unknown_name("tail", tail, TAILS)
        self.description = description
        self.is_answered: bool = tail is not None
        self.told: bool = silent or self.is_answered
        self.is_network: bool = tail == NETWORK
        self.outcome: Any = None
        self._read: Tensor | None = None

    @contextmanager
    def watched(self, network: nn.Module) -> Iterator[None]:
        """Keep what the network's last linear layer reads while the block runs, until it has been compared."""
        if self.told:
            yield
            return
        if any(isinstance(part, torch.jit.ScriptModule) for part in network.modules()):
            self.told = True  # its parts run without hooks
        self._read = None
        with ExitStack() as hooks:
            for part in network.modules():
                if OF_A_CLASSIFIER in type(part).__name__ and not isinstance(part, torch.jit.ScriptModule):
                    hooks.callback(part.register_forward_pre_hook(self._keep).remove)
            yield

    def compare(self, maps: Float[Tensor, "batch channel h w"], embedding: Float[Tensor, "batch embedding"]) -> None:
        """Warn, once, where the network goes on to something else than the embedding."""
        outcome, read, told = self.outcome, self._read, self.told
        self.outcome = self._read = None
        self.told = True
        if told or len(maps) == 0:
            self.told = told
            return
        ends = list(_tensors(outcome))
        ours = (embedding, maps.mean(dim=(-2, -1)))
        of_maps = (maps, maps.permute(0, 2, 3, 1), maps.flatten(2).mT)
        if any(
            _alike(end, mine) for end in ends for mine in (*ours, *(one for one in of_maps if one.shape == end.shape))
        ):
            return
        if read is not None and not any(map(_of_norm_1, ends)) and any(_alike(read, mine) for mine in ours):
            return
        shapes = " and ".join(str(tuple(end.shape)) for end in ends) or type(outcome).__name__
        warnings.warn(
            f"{self.description}: the network goes on from the explained layer to an output of shape {shapes}, which "
            f"is made of more than the embedding of shape {tuple(embedding.shape)} that is compared, the pooled "
            f"maps; give that part as head=..., or tail={IGNORE!r} where the pooled maps are meant.",
            TailWarning,
            stacklevel=3,
        )

    def pooled(
        self, maps: Float[Tensor, "batch channel h w"], pooling: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "batch pooled"]:
        """Return what stands between maps and head: the pooled maps, or with ``network`` what the network returned.

        Raises: ``ValueError`` for a network that does not return one embedding an image.
        """
        if not self.is_network:
            return pooling(maps)
        outcome, self.outcome = self.outcome, None
        return in_full_precision(at_hand(self.checked(outcome, len(maps))))

    def checked(self, outcome: Any, batch: int) -> Float[Tensor, "batch pooled"]:
        """Return what a network returned where it is one embedding an image, (B, J) or (B, J, 1, 1).

        Raises: ``ValueError`` for anything else.
        """
        plain = isinstance(outcome, Tensor) and not outcome.is_nested and outcome.is_floating_point()
        if plain and outcome.dim() >= 2 and outcome.shape[:2].numel() == outcome.numel() and len(outcome) == batch:
            with torch.enable_grad():  # of an outcome that derivatives reach
                embedding: Tensor = outcome.flatten(start_dim=1)
            return embedding
        shape = f"shape {tuple(outcome.shape)}" if isinstance(outcome, Tensor) else type(outcome).__name__
        raise Mistake(
            f"{self.description}: with tail={NETWORK!r} expected a network that returns one embedding an image, of "
            f"shape ({batch}, J), but got {shape}; wrap it in a module that returns the embedding alone."
        )

    def _keep(self, _layer: nn.Module, read: tuple[Any, ...]) -> None:
        if read and isinstance(read[0], Tensor):
            self._read = read[0].detach().clone()


def _tensors(outcome: Any) -> Iterator[Tensor]:
    if isinstance(outcome, Tensor):
        yield outcome.detach()
    elif isinstance(outcome, Mapping):
        for value in outcome.values():
            yield from _tensors(value)
    elif isinstance(outcome, list | tuple):
        for value in outcome:
            yield from _tensors(value)


def _alike(theirs: Tensor, ours: Tensor) -> bool:
    """Whether two tensors are one up to axes of length 1 and rounding."""
    if theirs.is_nested or theirs.dim() < 2 or len(theirs) != len(ours) or theirs.numel() != ours.numel():
        return False
    first, second = theirs.flatten(1).double().cpu(), ours.flatten(1).double().cpu()
    return bool((first - second).norm() <= CLOSE * second.norm())


def _of_norm_1(values: Tensor) -> bool:
    """Whether every row is of norm 1 and is no distribution over classes, which may be so by chance."""
    if (
        values.dim() != 2
        or not values.is_floating_point()
        or bool((values >= 0).all() and (values.sum(1) < 1.01).all())
    ):
        return False
    return bool(((values.float().norm(dim=1) - 1).abs() < 1e-2).all())
