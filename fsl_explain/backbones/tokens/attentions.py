"""What each block of a token network attended to, heard while the network's own modules run, with gradients.

No table of architectures: softmax and PyTorch's attention functions are listened to inside of each block, whichever
class it is of. Fused attention is computed step by step instead, so that its matrix is a tensor of the graph.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from episodes.errors import Mistake
from fsl_explain.backbones.capture import turn_at
from fsl_explain.backbones.tokens.reading import MEAN, POOLED, Read, TokenReading
from fsl_explain.backbones.wrappers import without_compilation
from fsl_explain.devices import at_hand, in_full_precision
from fsl_explain.readouts.cells import normalize

SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
POOL = -1  # the place of attention that pools; the blocks' are their numbers


@dataclass(frozen=True)
class Attended:
    """One forward pass, and what it attended to: every tensor is a part of one graph.

    ``rows`` of a block sum to 1 over the tokens that are read. Where a block lets the class token alone ask, as
    CaiT's last ones do, there is one row.
    """

    read: Read
    left: tuple[Float[Tensor, "batch token channel"], ...]  # the tokens as they leave each block
    rows: tuple[Float[Tensor, "batch head asking token"], ...]  # of each block
    pool: Float[Tensor, "batch head latent patch"] | None  # of the attention that pools


def attend(reading: TokenReading, images: Float[Tensor, "batch color height width"]) -> Attended:
    """Run a network once on placed images, with gradients, and return what every block attended to.

    Raises: ``ValueError`` for a block that computes its attention in another way, or patches that attend elsewhere.
    """
    if reading.parts.alone and reading.readout == MEAN:
        raise Mistake(
            f"expected blocks in which patches attend, but the ones that are known of {reading.description} let the "
            f"class token alone ask, and the readout is {MEAN!r}; use exact or contrast, or readout='class'."
        )
    parts, heard = reading.parts, _Listening(len(images))
    places = dict(enumerate(parts.blocks)) | ({} if parts.pool is None else {POOL: parts.pool})
    with ExitStack() as stack:
        stack.enter_context(turn_at(reading.network))
        stack.enter_context(without_compilation(reading.network))
        for place, module in places.items():
            stack.callback(module.register_forward_pre_hook(heard.beginning(place)).remove)
            stack.callback(module.register_forward_hook(heard.beginning(None)).remove)
        stack.enter_context(torch.enable_grad())
        stack.enter_context(heard)
        ran = reading.run(images)
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        read = reading.read_out(ran, images)
    left = (*ran.entered[1:], ran.left)
    count = left[-1].shape[1]
    rows = [heard.at(place, count, reading.description) for place in range(len(parts.blocks))]
    pooled = reading.readout == POOLED
    pool = heard.at(POOL, count - len(parts.roles), reading.description) if pooled else None
    return Attended(read, tuple(in_full_precision(at_hand(x)) for x in left), tuple(rows), pool)


def pooled_by_attention(
    reading: TokenReading, tokens: Float[Tensor, "batch token channel"]
) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch head latent patch"]]:
    """Return what the attention pooling of a network makes of the tokens behind any block, and what it attended to."""
    pool, heard = reading.parts.pool, _Listening(len(tokens))
    assert pool is not None  # this readout was refused without
    decides = next(pool.parameters())
    cells = normalize(reading.parts.norm, tokens[:, len(reading.parts.roles) :])
    with torch.enable_grad(), turn_at(reading.network), without_compilation(reading.network), heard:
        heard.place = POOL
        found = pool(cells.to(decides.device, decides.dtype))
    return in_full_precision(at_hand(found)), heard.at(POOL, cells.shape[1], reading.description)


class _Listening(TorchFunctionMode):
    """Keeps the matrices of attention that are computed while it is told a place, each a tensor of the graph."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch
        self.place: int | None = None
        self.kept: dict[int, list[Tensor]] = {}

    def beginning(self, place: int | None) -> Any:
        """Return a hook that says where the network is."""

        def begin(*_: Any) -> None:
            self.place = place

        return begin

    def at(self, place: int, tokens: int, description: str) -> Float[Tensor, "batch head asking token"]:
        """Return the one matrix that was heard at a place. Raises: ``ValueError`` for none, or several."""
        found = [rows for rows in self.kept.get(place, ()) if rows.shape[-1] == tokens]
        if len(found) != 1:
            raise Mistake(
                f"expected every block of {description} to attend once, by softmax or by PyTorch's "
                f"scaled_dot_product_attention, but {len(found)} matrices of {tokens} tokens were heard in one; switch "
                "other attention kernels off, or use exact or contrast."
            )
        return found[0]

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if self.place is not None and func is F.scaled_dot_product_attention and _is_plain(*args, **given):
            return self._attended(*args, **given)
        if self.place is not None and func is F.multi_head_attention_forward and _is_self_contained(*args, **given):
            return self._through_heads(*args, **given)
        found = func(*args, **given)
        return self._keep(found) if self.place is not None and func in SOFTMAX else found

    def _keep(self, rows: Tensor) -> Tensor:
        """Keep a matrix, and return it as the network goes on with it."""
        if rows.dim() not in (3, 4) or len(rows) % self.batch or self.place is None:
            return rows
        known = rows if rows.dim() == 4 else rows.unflatten(0, (self.batch, -1))
        known = known if known.requires_grad else known.requires_grad_()
        self.kept.setdefault(self.place, []).append(known)
        return known if rows.dim() == 4 else known.flatten(0, 1)

    def _attended(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float | None = None, **_without_effect: Any
    ) -> Tensor:
        """Compute scaled dot-product attention step by step."""
        products = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        return self._keep(products.softmax(dim=-1)) @ value

    def _through_heads(
        self, query: Tensor, key: Tensor, value: Tensor, _embed: int, heads: int, weight: Tensor, *args: Any, **_: Any
    ) -> tuple[Tensor, Tensor]:
        """Compute PyTorch's multi-head attention of (token, batch, channel) step by step."""
        bias, out, out_bias = args[0], args[5], args[6]
        biases = (None, None, None) if bias is None else bias.chunk(3)
        parts = [
            F.linear(values, one, other).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
            for values, one, other in zip((query, key, value), weight.chunk(3), biases, strict=True)
        ]
        joined = self._attended(*parts).permute(2, 0, 1, 3).flatten(-2)
        return F.linear(joined, out, out_bias), self.kept[self.place or 0][-1].mean(dim=1)


def _is_plain(
    *args: Any, attn_mask: Tensor | None = None, is_causal: bool = False, enable_gqa: bool = False, **_: Any
) -> bool:
    """Whether attention is of all tokens to all, each head with keys of its own."""
    return len(args) == 3 and attn_mask is None and not is_causal and not enable_gqa


def _is_self_contained(query: Tensor, *args: Any, **kwargs: Any) -> bool:
    """Whether multi-head attention has neither masks nor keys of its own, nor weights apart."""
    weight, bias_k, bias_v, adds_zero = args[4], args[6], args[7], args[8]
    masks = (kwargs.get("attn_mask"), kwargs.get("key_padding_mask"), bias_k, bias_v)
    return query.dim() == 3 and weight is not None and not adds_zero and all(one is None for one in masks)
