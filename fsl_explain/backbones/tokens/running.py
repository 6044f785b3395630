"""One forward pass of a token network, and what its blocks were given."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import turn_at
from fsl_explain.backbones.compiled import Forward
from fsl_explain.backbones.tokens.blocks import listened_to
from fsl_explain.backbones.tokens.token_network import TokenNetwork
from fsl_explain.backbones.wrappers import on_one_device
from fsl_explain.devices import HALF, at_hand
from fsl_explain.readouts.block import Heard


@dataclass
class Ran:
    """What was heard of one forward pass."""

    entered: list[Tensor] = field(default_factory=list)  # the tokens that enter each block
    given: list[dict[str, Any]] = field(default_factory=list)  # the other arguments of each block
    after: dict[int, list[Tensor]] = field(default_factory=dict)  # queries that enter each block's norm before its MLP
    inside: dict[int, list[Tensor]] = field(default_factory=dict)  # and those that enter the activation of its MLP
    left: Any = None  # the tokens that leave the last
    pooled: list[Tensor] = field(default_factory=list)  # what attention pooling gave
    classified: list[Tensor] = field(default_factory=list)  # what the classifiers read
    output: Any = None

    def heard_in(self, place: int) -> Heard:
        """Return what was heard once of the queries in a block; of a layer that ran several times nothing is known."""
        found = (heard.get(place, []) for heard in (self.after, self.inside))
        return Heard(*(at_hand(values[0]) if len(values) == 1 else None for values in found))

    def taken(self) -> tuple[Any, ...]:
        """Return all that was heard, of which another one is made, and begin again."""
        one: list[list[Any]] = [self.entered, self.given, self.pooled, self.classified]
        entered, given, pooled, classified = (list(values) for values in one)
        after, inside = ({place: list(values) for place, values in all_.items()} for all_ in (self.after, self.inside))
        left, output = self.left, self.output
        for values in (*one, *self.after.values(), *self.inside.values()):
            values.clear()
        self.left = self.output = None
        return entered, given, after, inside, left, pooled, classified, output


def run(network: nn.Module, parts: TokenNetwork, images: Tensor, followed: range, description: str) -> Ran:
    """Run the network on placed images, and hear what its blocks are given. Raises: ``ValueError``."""
    ran = Ran()
    with turn_at(network), listen(parts, followed, ran):
        ran.output = on_one_device(network)(images, **parts.more(images))
    return checked(ran, parts, description)


def listen(parts: TokenNetwork, followed: Sequence[int], ran: Ran) -> ExitStack:
    """Have what the blocks are given added to ``ran`` in each forward pass; returns what ends that."""
    apart, hooks = parts.apart, ExitStack()

    def enter(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        values = [_tokens(value) for value in (args or tuple(kwargs.values()))[: 1 + apart]]
        ran.entered.append(torch.cat(values[::-1], dim=1) if apart else values[0])
        ran.given.append(kwargs)

    def leave(_block: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        ran.left = torch.cat([_tokens(output), _tokens(args[0])], dim=1) if apart else _tokens(output)

    for block in parts.blocks:
        hooks.callback(block.register_forward_pre_hook(enter, with_kwargs=True).remove)
    for place in followed:
        hooks.callback(_listen(parts, place, ran).close)
    hooks.callback(parts.blocks[-1].register_forward_hook(leave).remove)
    if parts.pool is not None:
        hooks.callback(parts.pool.register_forward_hook(lambda *of: ran.pooled.append(of[-1])).remove)
    for layer in parts.classifiers:
        hooks.callback(layer.register_forward_pre_hook(lambda _, of: ran.classified.append(of[0])).remove)
    return hooks


def hooked(followed: Sequence[int], network: nn.Module, parts: TokenNetwork) -> Forward:
    """Return a pass of a network as a function to be compiled, of which ``Ran`` is made; it is hooked for good."""
    ran = Ran()
    listen(parts, followed, ran)

    def forward(images: Tensor) -> tuple[Any, ...]:
        ran.output = on_one_device(network)(images, **parts.more(images))
        return ran.taken()

    return forward


def checked(ran: Ran, parts: TokenNetwork, description: str) -> Ran:
    """Return what was heard, the batch first. Raises: ``ValueError`` where not every block ran once."""
    expected = len(parts.blocks)
    if len(ran.entered) != expected:
        raise Mistake(
            f"expected each of the {expected} blocks of {description} to run once, but {len(ran.entered)} "
            "ran; use the layer to explain and tail='network'."
        )
    if not parts.batch_first:
        ran.entered, ran.left = [x.transpose(0, 1) for x in ran.entered], ran.left.transpose(0, 1)
    return ran


def _listen(parts: TokenNetwork, place: int, ran: Ran) -> ExitStack:
    """Keep what the queries are on their way through a block; returns what ends that."""
    hooks, (norm, first) = ExitStack(), listened_to(parts.blocks[place])

    def keep(found: list[Tensor], values: Any) -> None:
        if isinstance(values, Tensor) and values.dim() == 3 and values.dtype not in HALF:
            values = values if parts.batch_first else values.transpose(0, 1)
            found.append(values[:, list(parts.queries)])

    after, inside = ran.after.setdefault(place, []), ran.inside.setdefault(place, [])
    if norm is not None:
        hooks.callback(norm.register_forward_pre_hook(lambda _, given: keep(after, given[0])).remove)
    if first is not None:
        hooks.callback(first.register_forward_hook(lambda *of: keep(inside, of[-1])).remove)
    return hooks


def _tokens(value: Any) -> Tensor:
    found = value[0] if isinstance(value, tuple | list) else value
    if not isinstance(found, Tensor) or found.dim() != 3:
        raise Mistake(f"expected tokens (batch, token, channel) between blocks, but got {type(found).__name__}.")
    return found
