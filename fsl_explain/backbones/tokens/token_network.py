"""The parts of a network whose layers give one token a patch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fsl_explain.readouts.block import Block

CLASS, DISTILLATION, REGISTERS = "class token", "distillation token", "registers"
Output = Callable[[Any], Tensor | None]


def _nothing(_pool: nn.Module) -> Block | None:
    return None


def _no_more(_images: Tensor) -> Mapping[str, Any]:
    return {}


def the_tensor(output: Any) -> Tensor | None:
    """Return what a network returns where that is a tensor, else None."""
    return output if isinstance(output, Tensor) else None


@dataclass(frozen=True)
class TokenNetwork:
    """The parts of a network whose layers give one token a patch, behind tokens of other roles."""

    blocks: tuple[nn.Module, ...]  # those the patches go through
    roles: tuple[str, ...]  # of the tokens before the patches
    norm: nn.Module  # of all tokens behind the last block; an Identity where it stands behind the pooling
    own: str  # the readout that the network itself makes: class, mean, class+mean or attention-pool
    after: tuple[nn.Module, ...] = ()  # behind the pooling, before the classifier
    norm_after: nn.Module | None = None  # behind a mean of patches
    queries: tuple[int, ...] = (0,)  # the tokens of a class readout
    pool: nn.Module | None = None  # attention pooling with a latent query
    pool_block: Callable[[nn.Module], Block | None] = _nothing  # the layers of that
    apart: bool = False  # whether the blocks are given the class token apart from the patches, as CaiT's are
    alone: bool = False  # whether the class token alone asks in the blocks
    batch_first: bool = True
    outcome: Output = the_tensor
    classifiers: tuple[nn.Module, ...] = ()  # what they read is the embedding, where the output is of classes
    more: Callable[[Tensor], Mapping[str, Any]] = _no_more  # what the network is given beside images

    @property
    def width(self) -> int:
        """Channels of a token."""
        norms: list[Any] = [norm for norm in (self.norm, self.norm_after) if norm is not None]
        return next(len(norm.weight) for norm in norms if getattr(norm, "weight", None) is not None)
