"""The class token's stream: what it read of the patches in every block, and what became of that.

Three exact ways to say who wrote a class token, all of one kind, with attention, norms, gains and gates frozen:

- ``class``: what the token read in every block, carried through its own later life, attention to itself and MLPs;
- ``class-direct``: what goes straight from each attention to the output, the MLPs named apart (Gandelsman et al.,
  2024, "Interpreting CLIP's image representation via text-based decomposition");
- ``class-last``: the last block's share alone, carried through its MLP.

Attention that pools, with a latent query, is a stream of one block that starts from nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.readouts.block import Block, FrozenBlock, frozen, queries_behind

CELLS, BIASES, ITSELF = "cells", "biases", "class token to itself"
STREAM, DIRECT, LAST = "class", "class-direct", "class-last"
BEFORE = {STREAM: "class token", DIRECT: "class token", LAST: "class token before"}


@dataclass(frozen=True)
class Plan:
    """Which token is what: its role, and the grid of those that are patches.

    ``roles`` are those of the tokens before the patches, in order: ``class token``, ``distillation token``,
    ``registers``. ``queries`` are the positions of the tokens that are read out.
    """

    way: str  # class, class-direct or class-last
    roles: tuple[str, ...]
    queries: tuple[int, ...]
    grid: tuple[int, int]
    blocks: tuple[Block, ...]

    @property
    def carries(self) -> bool:
        """Whether the queries' attention to themselves is followed."""
        return self.way == STREAM


@dataclass(frozen=True)
class StreamTrace:
    """Who wrote the query tokens of a network, from the tokens that entered its blocks; worked out when asked.

    The channels of several query tokens stand behind each other.
    """

    plan: Plan
    tokens: tuple[Float[Tensor, "*batch token channel"], ...]  # as they entered each block

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the patches."""
        return self.plan.grid

    @property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all patches together wrote."""
        return self._sums[CELLS]

    @property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """What no patch wrote: the first class token, registers, biases, and what a way names beside them."""
        return {name: value for name, value in self._sums.items() if name != CELLS}

    @torch.no_grad()
    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Pull one weight a channel back through the blocks, and sum what each patch wrote along it."""
        total = sum(written.sum(dim=-2) for written in self._backwards(weights))
        assert isinstance(total, Tensor)  # a plan has blocks
        cells: Tensor = total[..., len(self.plan.roles) :].unflatten(-1, self.grid)
        return cells

    @torch.no_grad()
    def by_head(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... block head h w"]:
        """Return what each head of each block wrote of each patch, which sums to ``spread``; the last block is last."""
        parts = [written[..., len(self.plan.roles) :] for written in self._backwards(weights)]
        cells: Tensor = torch.stack(parts[::-1], dim=-3).unflatten(-1, self.grid)
        return cells

    def _backwards(self, weights: Float[Tensor, "*queries channel"]) -> Iterator[Float[Tensor, "... head token"]]:
        count = max(1, len(self.plan.queries))
        gradient = weights.to(self.tokens[0].dtype).unflatten(-1, (count, -1))
        for block in reversed(self._frozen):
            if block.mlp is not None and self.plan.way != DIRECT:
                gradient = gradient + block.mlp.pull_back(gradient)
            written, own = block.on_tokens(gradient)
            yield written
            if self.plan.carries and own is not None:
                gradient = gradient + own

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each patch wrote into each channel."""
        patches = self.grid[0] * self.grid[1]
        slots = torch.zeros(patches, patches + len(self.plan.roles)).to(self.tokens[0])
        slots[:, len(self.plan.roles) :] = torch.eye(patches).to(slots)
        written: Tensor = self._pushed(slots, ())[0].mT.unflatten(-1, self.grid)
        return written

    @property
    def cells_read(self) -> Float[Tensor, "*batch channel h w"]:
        """The patches as the last block reads them."""
        cells: Tensor = self.tokens[-1][..., len(self.plan.roles) :, :].mT.unflatten(-1, self.grid)
        return cells

    def read_again(self, cells: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch channel"]:
        """Return what would be read out, had the last block read these patches; derivatives pass through the block."""
        prefix = self.tokens[-1][..., : len(self.plan.roles), :]
        tokens = torch.cat([prefix, cells.flatten(start_dim=-2).mT], dim=-2)
        return queries_behind(self.plan.blocks[-1], tokens, self.plan.queries).flatten(-2)

    def parts(self) -> Sequence[Tensor]:
        """Return the tokens of every block."""
        return self.tokens

    def of(self, parts: Sequence[Tensor]) -> "StreamTrace":
        """Return the same of other images."""
        return replace(self, tokens=tuple(parts))

    @cached_property
    def _frozen(self) -> list[FrozenBlock]:
        return [frozen(b, x, self.plan.queries) for b, x in zip(self.plan.blocks, self.tokens, strict=True)]

    @cached_property
    def _sums(self) -> dict[str, Tensor]:
        names, roles = [CELLS], list(self.plan.roles)
        if self.plan.carries:
            roles = [role for at, role in enumerate(roles) if at not in self.plan.queries]
        else:
            roles = [ITSELF if at in self.plan.queries else role for at, role in enumerate(roles)]
        names += list(dict.fromkeys(roles))
        found, others = self._pushed(self._slots(names), tuple(names))
        sums = dict(zip(names, found.unbind(dim=-2), strict=True))
        for name, value in others.items():
            sums[name] = sums[name] + value if name in sums else value
        return {name: value.double() for name, value in sums.items()}

    def _slots(self, names: Sequence[str]) -> Float[Tensor, "slot token"]:
        """Mark the tokens of each name; those that are followed as streams belong to none."""
        plan, patches = self.plan, self.grid[0] * self.grid[1]
        slots = torch.zeros(len(names), len(plan.roles) + patches)
        slots[0, len(plan.roles) :] = 1
        for at, role in enumerate(plan.roles):
            name = role if at not in plan.queries else ITSELF
            if name in names and not (plan.carries and at in plan.queries):
                slots[names.index(name), at] = 1
        return slots.to(self.tokens[0])

    @torch.no_grad()
    def _pushed(
        self, slots: Float[Tensor, "slot token"], names: Sequence[str]
    ) -> tuple[Float[Tensor, "*batch slot channel"], dict[str, Float[Tensor, "*batch channel"]]]:
        """Follow what the tokens of each slot wrote to the output, and, where names are asked for, all else."""
        plan, count = self.plan, len(slots)
        starts = self._starts() if names else {}
        extra = [*starts, BIASES]
        first = self._frozen[0]
        state = None if first.norm is None else self._state(count, list(starts.values()))
        apart: dict[str, Tensor] = {}
        for number, block in enumerate(self._frozen):
            written = block.written(slots, state if plan.carries else None)
            if written.shape[-2] < count + len(extra):  # slots and biases alone: the starts lie between them
                parts = (written[..., :-1, :], written.new_zeros(*written.shape[:-2], len(starts), written.shape[-1]))
                written = torch.cat([*parts, written[..., -1:, :]], dim=-2)
            state = written if state is None else state + written
            if block.mlp is not None and plan.way == DIRECT and names:
                at = f"MLP {number + 1}"
                apart[at] = block.mlp.push_forward(block.mlp.pooled[..., None, :]).squeeze(-2) + block.mlp.offset
            elif block.mlp is not None and plan.way != DIRECT:
                state = state + block.mlp.push_beside_bias(state)
        assert state is not None  # a plan has blocks
        state = state.transpose(-3, -2).flatten(-2)
        others = {name: state[..., count + number, :] for number, name in enumerate(extra)}
        return state[..., :count, :], others | {name: value.flatten(-2) for name, value in apart.items()}

    def _state(self, count: int, starts: list[Tensor]) -> Float[Tensor, "*batch query slots channel"]:
        """Return the streams before the first block: nothing of any slot, the starts, and no biases."""
        own = self.tokens[0][..., list(self.plan.queries), None, :]
        nothing = torch.zeros_like(own)
        return torch.cat([*[nothing] * count, *(start[..., None, :] for start in starts), nothing], dim=-2)

    def _starts(self) -> dict[str, Tensor]:
        """Return the query tokens as they enter, each under its role, in its own place of the stream."""
        if self._frozen[0].norm is None:
            return {}
        own = self.tokens[0][..., list(self.plan.queries), :]
        found: dict[str, Tensor] = {}
        for number, at in enumerate(self.plan.queries):
            role = self.plan.roles[at]
            name = BEFORE[self.plan.way] if role == "class token" else role
            found.setdefault(name, torch.zeros_like(own))[..., number, :] = own[..., number, :]
        return found
