"""Relation Network's relation module: a similarity of maps that was learned.

Source: Sung et al., "Learning to Compare: Relation Network for Few-Shot Learning", 2018, and its published code.
Two blocks of convolution, batch normalization, ReLU and max pooling read the support's maps and the query's, the
former first; two linear layers and a sigmoid make one number of them. The first convolution is linear in both sides, so
that each side passes it once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.weights.checkpoint import check_finite, read_state
from fsl_explain.similarities.learned import WithoutForm

OF_A_BLOCK = ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var")
NAMES = (
    *(f"{block}.{name}" for block in ("layer1", "layer2") for name in OF_A_BLOCK),
    *("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"),
)
PAIRS_TOGETHER = 256
EPS = 1e-5  # of batch normalization


@dataclass(frozen=True)
class RelationNetwork(WithoutForm):
    """The relation, in (0, 1), of flattened maps by a relation module; larger is more alike.

    ``weights`` are the module's parameters by their names in the official code; ``load`` reads them. An encoder for it
    has ``pooling="flatten"``, square maps and no head. Of several shots the paper sums the maps of a class: that is
    ``rule="prototype"``, their mean, with ``shots``, by which the gallery's maps are multiplied.
    DEVIATION: batch normalization uses its running statistics, where the published test takes those of the batch, so
    that a relation would depend on the other pairs compared with it.
    """

    weights: Mapping[str, Tensor]
    shots: int = 1

    @classmethod
    def load(cls, path: str | Path, shots: int = 1) -> "RelationNetwork":
        """Read a file of a relation module as it was published: ``layer1``, ``layer2``, ``fc1`` and ``fc2``.

        ``shots`` are those of a class, as the class says; ``rule="relation-network"`` sets them by itself.

        Raises: ``FileNotFoundError``; ``ValueError`` for a file of other parts or with values that are not finite, or a
        number of shots below 1.
        """
        if shots < 1:
            raise Mistake(f"expected at least one shot, but got {shots}.")
        state = read_state(Path(path))
        lacking = [name for name in NAMES if name not in state]
        if lacking:
            raise Mistake(
                f"expected a relation module in {path}, but it has no {lacking[0]} beside its {len(state)} tensors; "
                "give the file of the relation network, not that of the encoder."
            )
        check_finite(state, str(path))
        return cls({name: state[name].detach() for name in NAMES}, shots)

    @property
    def channels(self) -> int:
        """Channels of the maps that are compared."""
        return self.weights["layer1.0.weight"].shape[1] // 2

    def pairwise(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "*batch query gallery"]:
        """Return the relation, in (0, 1), of every query to every support, both as flattened maps.

        Raises: ``ValueError`` for embeddings that are no maps of the module's channels and size.
        """
        weight = self._of("layer1.0.weight", query)
        supports, queries = weight[:, : self.channels], weight[:, self.channels :]
        ours = F.conv2d(self._maps(query), queries)
        theirs = F.conv2d(self._maps(gallery) * self.shots, supports, self._of("layer1.0.bias", query))
        first, second = _pairs(query.shape[:-1], gallery.shape[:-1])
        parts = zip(first.flatten().split(PAIRS_TOGETHER), second.flatten().split(PAIRS_TOGETHER), strict=True)
        relations = torch.cat(
            [self._relations(ours[one.to(ours.device)] + theirs[other.to(ours.device)]) for one, other in parts]
        )
        return relations.to(query.dtype).reshape(first.shape)

    def _relations(self, convolved: Float[Tensor, "pair channel h w"]) -> Float[Tensor, "pair"]:
        first = self._rest_of_block("layer1", convolved)
        second = F.conv2d(first, self._of("layer2.0.weight", first), self._of("layer2.0.bias", first))
        flat = self._rest_of_block("layer2", second).flatten(start_dim=1)
        hidden = F.linear(flat, self._of("fc1.weight", flat), self._of("fc1.bias", flat)).relu()
        return F.linear(hidden, self._of("fc2.weight", flat), self._of("fc2.bias", flat)).sigmoid()[:, 0]

    def _rest_of_block(
        self, block: str, values: Float[Tensor, "pair channel h w"]
    ) -> Float[Tensor, "pair channel _h _w"]:
        mean, variance, gain, shift = (
            self._of(f"{block}.1.{name}", values) for name in ("running_mean", "running_var", "weight", "bias")
        )
        return F.max_pool2d(F.batch_norm(values, mean, variance, gain, shift, eps=EPS).relu(), 2)

    def _of(self, name: str, like: Tensor) -> Tensor:
        """Return a parameter on the device of values."""
        return self.weights[name].to(like.device)

    def _maps(self, embeddings: Float[Tensor, "*images numbers"]) -> Float[Tensor, "image channel h w"]:
        side = isqrt(embeddings.shape[-1] // self.channels)
        after = ((side - 2) // 2 - 2) // 2  # two valid convolutions of 3×3, each followed by pooling
        read = self.weights["fc1.weight"].shape[1]
        if side * side * self.channels != embeddings.shape[-1] or after < 1 or after * after * self.channels != read:
            raise Mistake(
                f"expected flattened square maps of {self.channels} channels, of the size that the relation module "
                f"was trained for, but got embeddings of {embeddings.shape[-1]} numbers; use its own encoder, "
                "conv64f with images of 84×84, pooling='flatten' and no head."
            )
        return embeddings.reshape(-1, self.channels, side, side).to(self.weights["layer1.0.weight"].dtype)


def _pairs(
    queries: torch.Size, gallery: torch.Size
) -> tuple[Int[Tensor, "*batch query gallery"], Int[Tensor, "*batch query gallery"]]:
    """Return the rows of both sides of every pair, in the order of the leading dimensions."""
    first = torch.arange(queries.numel()).reshape(*queries, 1)
    second = torch.arange(gallery.numel()).reshape(*gallery[:-1], 1, gallery[-1])
    one, other = torch.broadcast_tensors(first, second)
    return one, other
