"""The class token's stream: what it read of the patches in every block, and what became of that.

Three exact ways to say who wrote a class token, all of one kind, with attention, norms, gains and gates frozen:

- ``class``: what the token read in every block, carried through its own later life, attention to itself and MLPs;
- ``class-direct``: what goes straight from each attention to the output, the MLPs named apart (Gandelsman et al.,
  2024, "Interpreting CLIP's image representation via text-based decomposition");
- ``class-last``: the last block's share alone, carried through its MLP.

Attention that pools, with a latent query, is a stream of one block that starts from nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.heads.constants import Constants
from fsl_explain.readouts.block import (
    UNHEARD,
    Block,
    FrozenBlock,
    Heard,
    Written,
    frozen_each,
    picked,
    queries_behind,
)
from fsl_explain.traces import Along

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
class Pulled:
    """What the blocks wrote along weights, from the last to the first, and the gradient where the queries start."""

    by_head: list[Float[Tensor, "... head token"]]
    bias: Float[Tensor, "..."]
    mlps: dict[str, Float[Tensor, "..."]]
    start: Float[Tensor, "... query channel"]


@dataclass(frozen=True)
class StreamTrace:
    """Who wrote the query tokens of a network, from the tokens that entered its blocks; worked out when asked.

    The channels of several query tokens stand behind each other.
    """

    plan: Plan
    tokens: tuple[Float[Tensor, "*batch token channel"], ...]  # as they entered each block
    heard: tuple[Heard, ...] = ()  # of each block, in order; none of any where there are none

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the patches."""
        return self.plan.grid

    @cached_property
    def held(self) -> Float[Tensor, "*batch channel"]:
        """What all patches together wrote."""
        return self._followed(self._slots([CELLS])).squeeze(-2).double()

    @cached_property
    def named(self) -> Mapping[str, Float[Tensor, "*batch channel"]]:
        """What no patch wrote: the first class token, registers, biases, and what a way names beside them."""
        return {name: value.double() for name, value in self._beside().items()}

    @torch.no_grad()
    def along(self, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Pull one weight a channel back through the blocks, and sum what each patch and each part wrote along it."""
        pulled = self._pulled(weights)
        total = torch.stack([block.sum(dim=-2) for block in pulled.by_head]).sum(dim=0)
        written: dict[str, Tensor] = {}
        for at, name in enumerate(self._token_names):
            if name:
                written[name] = written.get(name, 0) + total[..., at]
        for name, start in self._starts().items():
            written[name] = written.get(name, 0) + (start * pulled.start).sum(dim=(-2, -1))
        named = {**written, BIASES: pulled.bias, **pulled.mlps}
        cells: Tensor = total[..., len(self.plan.roles) :].unflatten(-1, self.grid)
        return Along(cells, {name: value.double().expand(cells.shape[:-2]) for name, value in named.items()})

    def spread(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum each cell's addend over channels with one weight a channel."""
        return self.along(weights).cells

    @torch.no_grad()
    def by_head(self, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... block head h w"]:
        """Return what each head of each block wrote of each patch, which sums to ``spread``; the last block is last."""
        parts = [written[..., len(self.plan.roles) :] for written in self._pulled(weights).by_head]
        cells: Tensor = torch.stack(parts[::-1], dim=-3).unflatten(-1, self.grid)
        return cells

    def _pulled(self, weights: Float[Tensor, "*queries channel"]) -> "Pulled":
        count = max(1, len(self.plan.queries))
        gradient = weights.to(self.tokens[0].dtype).unflatten(-1, (count, -1))
        passed: list[tuple[FrozenBlock, Written, list[Tensor]]] = []
        for block in reversed(self._frozen):
            trail = [gradient] if block.mlp is None else block.mlp.trail_back(gradient)
            if block.mlp is not None and self.plan.way != DIRECT:
                gradient = gradient + trail[-1]
            written = block.on_tokens(gradient)
            passed.append((block, written, trail))
            if self.plan.carries and written.own is not None:
                gradient = gradient + written.own
        return Pulled([written.by_head for _, written, _ in passed], *self._met(passed, gradient), gradient)

    def _met(
        self, passed: list[tuple[FrozenBlock, Written, list[Tensor]]], like: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what a gradient met of biases in blocks, the last first, and what MLPs wrote that are named apart."""
        mlps, met = {}, Constants()
        for number, (block, written, trail) in enumerate(reversed(passed)):
            block.meet(written, met)
            if block.mlp is None:
                continue
            apart = Constants() if self.plan.way == DIRECT else met
            block.mlp.meet(trail, apart, over=2)
            if self.plan.way == DIRECT:
                mlps[f"MLP {number + 1}"] = (trail[-1] * block.mlp.pooled).sum(dim=(-2, -1)) + apart.total(like)
        return met.total(like), mlps

    def addends(self) -> Float[Tensor, "*batch channel h w"]:
        """Return what each patch wrote into each channel."""
        patches = self.grid[0] * self.grid[1]
        slots = torch.zeros(patches, patches + len(self.plan.roles)).to(self.tokens[0])
        slots[:, len(self.plan.roles) :] = torch.eye(patches).to(slots)
        written: Tensor = self._followed(slots).mT.unflatten(-1, self.grid)
        return written

    @property
    def cells_read(self) -> Float[Tensor, "*batch channel h w"]:
        """The patches as the last block reads them."""
        cells: Tensor = self.tokens[-1][..., len(self.plan.roles) :, :].mT.unflatten(-1, self.grid)
        return cells

    def read_again(self, cells: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch pooled"]:
        """Return what would be read out, had the last block read these patches; derivatives pass through the block."""
        prefix = self.tokens[-1][..., : len(self.plan.roles), :]
        tokens = torch.cat([prefix, cells.flatten(start_dim=-2).mT], dim=-2)
        return queries_behind(self.plan.blocks[-1], tokens, self.plan.queries).flatten(-2)

    def parts(self) -> Sequence[Tensor]:
        """Return the tokens of every block, and what was heard of each."""
        heard = [part for one in self.heard for part in (one.after, one.inside) if part is not None]
        return (*self.tokens, *heard)

    def of(self, parts: Sequence[Tensor]) -> "StreamTrace":
        """Return the same of other images."""
        tokens, left = parts[: len(self.tokens)], iter(parts[len(self.tokens) :])
        heard = [Heard(*(None if x is None else next(left) for x in (one.after, one.inside))) for one in self.heard]
        return replace(self, tokens=tuple(tokens), heard=tuple(heard))

    @cached_property
    def _frozen(self) -> list[FrozenBlock]:
        heard = self.heard or (UNHEARD,) * len(self.tokens)
        return frozen_each(self.plan.blocks, self.tokens, self.plan.queries, heard)

    @property
    def _token_names(self) -> list[str]:
        """The name of what is read of each token before the patches; empty where the token is followed."""
        followed = "" if self.plan.carries else ITSELF
        return [followed if at in self.plan.queries else role for at, role in enumerate(self.plan.roles)]

    def _slots(self, names: Sequence[str]) -> Float[Tensor, "slot token"]:
        """Mark the tokens of each name; those that are followed as streams belong to none."""
        plan, patches = self.plan, self.grid[0] * self.grid[1]
        slots = torch.zeros(len(names), len(plan.roles) + patches)
        if CELLS in names:
            slots[names.index(CELLS), len(plan.roles) :] = 1
        for at, name in enumerate(self._token_names):
            if name in names:
                slots[names.index(name), at] = 1
        return slots.to(self.tokens[0])

    @torch.no_grad()
    def _followed(self, slots: Float[Tensor, "slot token"]) -> Float[Tensor, "*batch slot channel"]:
        """Follow what the tokens of each slot wrote to the output, and nothing else."""
        state = None
        for block in self._frozen:
            written = block.written_alone(slots, state if self.plan.carries else None)
            state = written if state is None else state + written
            if block.mlp is not None and self.plan.way != DIRECT:
                state = state + block.mlp.push_forward(state)
        assert state is not None  # a plan has blocks
        return state.transpose(-3, -2).flatten(-2)

    @torch.no_grad()
    def _beside(self) -> dict[str, Float[Tensor, "*batch channel"]]:
        """Follow what no patch wrote to the output, each part under its name."""
        plan, starts = self.plan, self._starts()
        names = list(dict.fromkeys(name for name in self._token_names if name))
        slots, apart = self._slots(names), {}
        state = None if self._frozen[0].norm is None else self._state(len(names), list(starts.values()))
        for number, block in enumerate(self._frozen):
            written = block.written(slots, state if plan.carries else None)
            if state is not None and written.shape[-2] < state.shape[-2]:  # the starts lie between slots and biases
                parts = (written[..., :-1, :], written.new_zeros(*written.shape[:-2], len(starts), written.shape[-1]))
                written = torch.cat([*parts, written[..., -1:, :]], dim=-2)
            state = written if state is None else state + written
            if block.mlp is not None and plan.way == DIRECT:
                added = block.mlp.push_forward(block.mlp.pooled[..., None, :]).squeeze(-2) + block.mlp.offset
                apart[f"MLP {number + 1}"] = added.flatten(-2)
            elif block.mlp is not None:
                state = state + block.mlp.push_beside_bias(state)
        assert state is not None  # a plan has blocks
        return dict(zip([*names, *starts, BIASES], state.transpose(-3, -2).flatten(-2).unbind(-2), strict=True)) | apart

    def _state(self, count: int, starts: list[Tensor]) -> Float[Tensor, "*batch query slots channel"]:
        """Return the streams before the first block: nothing of any slot, the starts, and no biases."""
        own = picked(self.tokens[0], self.plan.queries)[..., None, :]
        nothing = torch.zeros_like(own)
        return torch.cat([*[nothing] * count, *(start[..., None, :] for start in starts), nothing], dim=-2)

    def _starts(self) -> dict[str, Tensor]:
        """Return the query tokens as they enter, each under its role, in its own place of the stream."""
        if self._frozen[0].norm is None:
            return {}
        own = picked(self.tokens[0], self.plan.queries)
        found: dict[str, Tensor] = {}
        for number, at in enumerate(self.plan.queries):
            role = self.plan.roles[at]
            name = BEFORE[self.plan.way] if role == "class token" else role
            found.setdefault(name, torch.zeros_like(own))[..., number, :] = own[..., number, :]
        return found
