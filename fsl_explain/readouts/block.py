"""A transformer block as its query tokens see it, and the same frozen at an image's own tokens.

Notation: x_j token j as it enters the block; x̂_j = norm(x_j) without the norm's bias β; a_hqj the attention of head h
from query q to token j; W_V, b_V the values, W_O the way out of the heads, with all that follows. Frozen are a, the
norms' statistics, the activations' secant gains and the gates. What a zero token would write, W_V β + b_V, is no
property of a token; attention sums to 1, so that it is a bias.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fsl_explain.devices import module_in_full_precision
from fsl_explain.heads import Linearization, linearize
from fsl_explain.heads.alike import linearize_each
from fsl_explain.heads.block_layers import Affine
from fsl_explain.heads.constants import Constants
from fsl_explain.heads.linearization import linearized, takes_whatever_enters
from fsl_explain.readouts.cells import normalize


@dataclass(frozen=True)
class Block:
    """How one block writes into its query tokens, by layers that share the network's parameters.

    ``norm`` is that of the tokens that are read; ``query``, ``key`` and ``value`` make those of all ``heads``;
    ``query_norm`` and ``key_norm`` are of one head; ``rotate`` turns queries and keys by their positions, over all
    tokens; ``scale`` is the factor of their products, None: one over the root of a head's width. ``out`` leads from the
    heads' outputs to what is added to the query, ``mlp``, its norm included, from there to what is added next;
    ``activation`` is its layer that is entered by what its first layer gives. ``latent`` are queries that are no
    tokens, as in attention pooling; then nothing of the query itself remains.
    """

    norm: nn.Module
    query: Affine | None
    key: Affine
    value: Affine
    heads: int
    out: nn.Module
    mlp: nn.Module | None
    query_norm: nn.Module | None = None
    key_norm: nn.Module | None = None
    rotate: Callable[[Float[Tensor, "*batch head token width"]], Tensor] | None = None
    scale: float | None = None
    latent: Float[Tensor, "query channel"] | None = None
    activation: nn.Module | None = None


@dataclass(frozen=True)
class Heard:
    """What a network's own pass showed of a block's queries, so that it need not be computed again.

    ``after`` is how they left the attention, the query added; ``inside`` how they entered the MLP's activation.
    """

    after: Float[Tensor, "*batch query channel"] | None = None
    inside: Float[Tensor, "*batch query hidden"] | None = None


UNHEARD = Heard()


@dataclass(frozen=True)
class Written:
    """What a block wrote along a gradient of its queries; leading dimensions are those of the gradient."""

    by_head: Float[Tensor, "... head token"]
    own: Float[Tensor, "... query channel"] | None  # the gradient at the queries' own tokens; None where latent
    trail: list[Float[Tensor, "... query width"]]  # from the queries behind the heads to what the heads give
    pulled: Float[Tensor, "... head query channel"]  # at what the heads read


@dataclass(frozen=True)
class FrozenBlock:
    """A block at the tokens of images: the attention of its queries and the gains of what follows."""

    read: Float[Tensor, "*batch token channel"]  # x̂
    attention: Float[Tensor, "*batch head query token"]
    value: Float[Tensor, "head width channel"]
    beta: Float[Tensor, "channel"] | None  # the norm's bias
    value_layer_bias: Float[Tensor, "out"] | None  # b_V, the heads behind each other
    norm: Linearization | None  # at the queries' own tokens; None where they are latent
    out: Linearization
    mlp: Linearization | None
    queries: tuple[int, ...] = field(default=())

    @cached_property
    def value_bias(self) -> Float[Tensor, "out"]:
        """W_V β + b_V: what heads read of any token."""
        values = self.value.new_zeros(self.value.shape[:2]) if self.beta is None else self.value @ self.beta
        return values.flatten() if self.value_layer_bias is None else values.flatten() + self.value_layer_bias

    @cached_property
    def attention_to_queries(self) -> Float[Tensor, "*batch head query query"]:
        """The queries' attention to themselves and each other."""
        return picked(self.attention.mT, self.queries).mT

    def on_tokens(self, gradient: Float[Tensor, "*queries query channel"]) -> Written:
        """Return what each head writes of each token along a gradient, and what is passed on."""
        trail = self.out.trail_back(gradient)
        pulled = by_head(trail[-1].unflatten(-1, self.value.shape[:2]).transpose(-3, -2), self.value)
        rows = pulled.flatten(-3, -2)
        written = (self.attention * (rows @ self.read.mT).unflatten(-2, pulled.shape[-3:-1])).sum(dim=-2)
        if self.norm is None:
            return Written(written, None, trail, pulled)
        return Written(written, self.norm.pull_back(self.attention_to_queries.flatten(-3, -2).mT @ rows), trail, pulled)

    def meet(self, written: Written, met: Constants) -> None:
        """Add what a gradient met of this block's biases, to be summed over queries, heads and channels."""
        self.out.meet(written.trail, met, over=2)
        met.meet(written.trail[-1], self.value_layer_bias, over=2)
        met.meet(written.pulled, self.beta, over=3)

    def written(
        self,
        slots: Float[Tensor, "slot token"],
        streams: Float[Tensor, "*batch query part channel"] | None,
    ) -> Float[Tensor, "*batch query slots channel"]:
        """Return what tokens write into the queries, summed over the tokens of each slot; last, what is written
        whatever the tokens are.

        ``streams`` are parts of the queries' own tokens, in the order of what is returned, the slots first: what they
        write is added. Where there are more of them than slots, the others come behind the slots.
        """
        values = self._read(slots, streams, 1 if streams is None else streams.shape[-2] - len(slots))
        values[..., -1, :] += self.value_bias
        return self.out.push_beside_bias(values)

    def written_alone(
        self, slots: Float[Tensor, "slot token"], streams: Float[Tensor, "*batch query slot channel"] | None
    ) -> Float[Tensor, "*batch query slot channel"]:
        """Return the same without what is written whatever the tokens are; ``streams`` are of the slots."""
        return self.out.push_forward(self._read(slots, streams, 0))

    def _read(self, slots: Tensor, streams: Tensor | None, more: int) -> Float[Tensor, "*batch query slots value"]:
        rows = self.attention[..., None, :] * slots
        read = (rows.flatten(-4, -2) @ self.read).unflatten(-2, rows.shape[-4:-1])
        read = nn.functional.pad(read, (0, 0, 0, more)) if more else read
        if streams is not None and self.norm is not None:
            own = self.norm.push_forward(streams)
            passed = self.attention_to_queries.flatten(-3, -2) @ own.flatten(-2)
            read = read + passed.unflatten(-1, own.shape[-2:]).unflatten(-3, rows.shape[-4:-2])
        values: Tensor = by_head(read.flatten(-3, -2), self.value.mT).unflatten(-2, read.shape[-3:-1])
        return values.movedim(-4, -2).flatten(-2)


def frozen(
    block: Block, tokens: Float[Tensor, "*batch token channel"], queries: tuple[int, ...], heard: Heard = UNHEARD
) -> FrozenBlock:
    """Freeze a block at the tokens that enter it; ``queries`` are the positions of its query tokens.

    What was ``heard`` of the network's own pass is not computed again. The network's parameters get no gradient,
    whenever the block is frozen.
    """
    return frozen_each([block], [tokens], queries, [heard])[0]


@torch.no_grad()
def frozen_each(
    blocks: Sequence[Block],
    tokens: Sequence[Float[Tensor, "*batch token channel"]],
    queries: tuple[int, ...],
    heard: Sequence[Heard],
) -> list[FrozenBlock]:
    """Freeze blocks behind each other, as ``frozen`` does one; the gains of all are found together."""
    asking = [_asking(*one, queries) for one in zip(blocks, tokens, heard, strict=True)]
    own = [number for number, block in enumerate(blocks) if block.latent is None]
    norms = linearize_each([blocks[number].norm for number in own], [picked(tokens[number], queries) for number in own])
    changed = [number for number, block in enumerate(blocks) if block.mlp is not None]
    known = {
        block.activation: one.inside
        for block, one in zip(blocks, heard, strict=True)
        if block.activation is not None and one.inside is not None
    }
    chains = [blocks[number].mlp or nn.Identity() for number in changed]
    mlps = linearize_each(chains, [asking[number][0] for number in changed], known)
    norm_of, mlp_of = dict(zip(own, norms, strict=True)), dict(zip(changed, mlps, strict=True))
    return [
        FrozenBlock(
            **parts,
            norm=norm_of.get(number),
            mlp=mlp_of.get(number),
            queries=queries if number in norm_of else (),
        )
        for number, (_, parts) in enumerate(asking)
    ]


def _asking(block: Block, tokens: Tensor, heard: Heard, queries: tuple[int, ...]) -> tuple[Tensor, dict[str, Any]]:
    """Return the queries as they leave the attention, or where none follows a stand-in, and how it is frozen."""
    read, beta = _without_bias(block.norm, tokens)
    attention = _attention(block, tokens, read, beta, queries)
    width = block.value.weight.shape[0] // block.heads
    value, bias = block.value.weight.to(read).unflatten(0, (block.heads, width)), block.value.bias
    after = heard.after
    if after is None or not takes_whatever_enters(block.out):
        seen = (attention.flatten(-3, -2) @ read).unflatten(-2, attention.shape[-3:-1])
        base = block.value(read.new_zeros(read.shape[-1]) if beta is None else beta)
        out, added = linearized(block.out, by_head(seen, value.mT).transpose(-3, -2).flatten(-2) + base)
        after = after if after is not None else added if block.latent is not None else picked(tokens, queries) + added
    else:
        out = linearize(block.out, after.new_zeros(*after.shape[:-1], len(block.value.weight)))
    bias = None if bias is None else bias.to(read)
    parts = {"read": read, "attention": attention, "value": value, "beta": beta, "value_layer_bias": bias, "out": out}
    return after, parts


def queries_behind(
    block: Block, tokens: Float[Tensor, "*batch token channel"], queries: tuple[int, ...]
) -> Float[Tensor, "*batch query channel"]:
    """Return the query tokens as they leave a block, nothing frozen: derivatives pass through all of it."""
    read, beta = _without_bias(block.norm, tokens)
    rows = _attention(block, tokens, read, beta, queries)
    values = in_heads(block.value(read if beta is None else read + beta), block.heads)
    written: Tensor = module_in_full_precision(block.out)((rows @ values).transpose(-3, -2).flatten(-2))
    after = written if block.latent is not None else picked(tokens, queries) + written
    return after if block.mlp is None else after + module_in_full_precision(block.mlp)(after)


def _attention(block: Block, tokens: Tensor, read: Tensor, beta: Tensor | None, queries: tuple[int, ...]) -> Tensor:
    """Return the rows of the queries; what a key adds whatever its token is changes no softmax."""
    asked = _queries(block, tokens, read, beta, queries)
    width = asked.shape[-1]
    if block.key_norm is None and block.rotate is None:
        moved = by_head(asked, block.key.weight.to(read).unflatten(0, (block.heads, width)))
        products = (moved.flatten(-3, -2) @ read.mT).unflatten(-2, moved.shape[-3:-1])
    else:
        keys = in_heads(block.key(read if beta is None else read + beta), block.heads)
        keys = keys if block.key_norm is None else normalize(block.key_norm, keys)
        keys = keys if block.rotate is None else block.rotate(keys)
        products = asked @ keys.mT
    rows: Tensor = (products * (width**-0.5 if block.scale is None else block.scale)).softmax(dim=-1)
    return rows


def _queries(block: Block, tokens: Tensor, read: Tensor, beta: Tensor | None, queries: tuple[int, ...]) -> Tensor:
    if block.latent is not None:
        asked = block.latent.to(tokens).expand(*tokens.shape[:-2], -1, -1)
    else:
        asked = picked(read, queries) if beta is None else picked(read, queries) + beta
    heads = in_heads(asked if block.query is None else block.query(asked), block.heads)
    heads = heads if block.query_norm is None else normalize(block.query_norm, heads)
    if block.rotate is None or block.latent is not None:
        return heads
    everywhere = heads.new_zeros(*heads.shape[:-2], tokens.shape[-2], heads.shape[-1])
    everywhere[..., list(queries), :] = heads
    return picked(block.rotate(everywhere), queries)


def by_head(
    values: Float[Tensor, "*batch head query width"], weights: Float[Tensor, "head width out"]
) -> Float[Tensor, "*batch head query out"]:
    """Multiply the rows of each head by the matrix of that head, of which no image has a copy."""
    if values.shape[:-3].numel() == 1:
        return values @ weights
    return torch.einsum("...hqw,hwo->...hqo", values, weights)


def picked(tokens: Float[Tensor, "*batch token channel"], places: tuple[int, ...]) -> Tensor:
    """Return the tokens at some places, without a copy where they stand behind each other."""
    first = places[0] if places else 0
    if places == tuple(range(first, first + len(places))):
        return tokens[..., first : first + len(places), :]
    return tokens[..., list(places), :]


def in_heads(values: Float[Tensor, "*batch token channel"], heads: int) -> Float[Tensor, "*batch head token width"]:
    """Split the channels of tokens between heads."""
    split: Tensor = values.unflatten(-1, (heads, -1)).transpose(-3, -2)
    return split


def _without_bias(norm: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the normalized tokens without the norm's bias, and the bias."""
    if isinstance(norm, nn.LayerNorm):
        weight = None if norm.weight is None else norm.weight.detach().to(tokens)
        bias = None if norm.bias is None else norm.bias.detach().to(tokens)
        return nn.functional.layer_norm(tokens, tuple(norm.normalized_shape), weight, None, norm.eps), bias
    return normalize(norm, tokens), None
