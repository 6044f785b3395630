"""DeepEMD of several shots: the query is compared with a dense prototype that is learned from the supports.

Source: DeepEMD, Zhang et al., 2020, section 3.4, and its published code, ``get_sfc``.
"""

import hashlib
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes.errors import Mistake
from episodes.position import position
from fsl_explain.classifiers.decision import SupportSet, Weights
from fsl_explain.classifiers.local.deep_emd import DeepEMD
from fsl_explain.classifiers.local.structured_layer import Descent
from fsl_explain.heads.direction import direction
from fsl_explain.heads.flatten import flat
from fsl_explain.similarities import Similarity, traits_of
from fsl_explain.similarities.pair_form import PairForm

OTHERS = "supports of other classes, in the learned prototypes"
REMEMBERED = 32  # episodes, as an audit has one without each support


@dataclass(frozen=True)
class Learned:
    """The prototypes of an episode, and what of them the supports hold by the cells that are compared."""

    prototypes: Float[Tensor, "*batch way r channel"]
    own: Float[Tensor, "*batch way shot r q"]  # coefficients of each support's cells q in the prototype of its class
    others: Float[Tensor, "*batch way r channel"]  # what supports of other classes add

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of it."""
        return self.prototypes, self.own, self.others


@dataclass(frozen=True)
class _Supports:
    """Supports by which an episode is remembered: the same where their values are, which themselves are not kept."""

    digest: bytes
    values: list[tuple[Tensor, Tensor]] = field(compare=False)  # embeddings and valid, until they are learned from

    @classmethod
    def of(cls, embeddings: Tensor, valid: Tensor) -> "_Supports":
        found = hashlib.blake2b(repr(tuple(embeddings.shape)).encode())
        for values in (embeddings, valid):
            found.update(values.contiguous().numpy().tobytes())
        return cls(found.digest(), [(embeddings, valid)])


@dataclass(frozen=True)
class StructuredDeepEMD(DeepEMD):
    """Σ_pr T_pr s(x_p, P_r) with prototypes P that gradient descent through T learned from all supports.

    They begin at the class means. Each of ``epochs`` passes over the supports (``sfc_update_step`` of the published
    code) goes through them ``batch_size`` at a time, in an order that is drawn from ``seed``: gradient descent with
    momentum 0.9 and dampening 0.9 on the cross-entropy of ``scale`` times the scores, with the flow frozen in each
    step. ``learning_rate`` is 100, as the published code evaluates; it trains with 0.1. As there, nothing is learned
    where no class has two supports. An episode of 25 images of 49 cells takes seconds.

    P_r is a combination of the supports' cells, whose coefficients are frozen in explanations: what the class's own
    supports hold is theirs, cell by cell, and what those of other classes add is a line of its own.

    No gradient goes through what cells weigh, as in the published code with the solver that it evaluates with.
    ``channels`` and ``centered`` are those of ``DeepEMD``.

    DEVIATION: the flow of a step is solved in float64, and the order is drawn over the supports class after class by a
    generator of the rule's own. The name deep-emd stays the mean, although the paper learns whenever there are several
    shots, because learning takes seconds an episode; the learned one has the name deep-emd-sfc.

    Raises: ``ValueError`` for other similarities than the cosine, for numbers that make no descent, and without POT;
    ``TypeError`` for a fraction of an epoch or of a support.
    """

    epochs: int = 100
    learning_rate: float = 100.0
    batch_size: int = 4
    scale: float = 12.5
    seed: int = 0

    holds_frozen: ClassVar[str] = (
        "the flow of the transport, with what each cell weighs in it, and the prototypes that were learned"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "batch_size", "seed"):
            position(getattr(self, name), f"{name} as a whole number")
        rates = (self.learning_rate, self.scale)
        if self.epochs < 0 or self.batch_size < 1 or min(rates) <= 0 or not all(map(math.isfinite, rates)):
            raise Mistake(
                "StructuredDeepEMD needs epochs of 0 or more, a batch_size of 1 or more, and a finite learning_rate "
                f"and scale above 0, but got {self.epochs}, {self.batch_size}, {self.learning_rate} and {self.scale}."
            )

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh the comparison with each support by 1; what those of other classes add to prototypes is a slope."""
        self._check(query, similarity)
        found, others = self._frozen_pairs(query, supports, similarity), self._learned(supports).others
        slope = (class_weights[..., None] * flat(found.flow[..., 0, :, :] @ others.to(query))).sum(dim=-2)
        return Weights(class_weights[..., None] * supports.valid, {}, {OTHERS: slope})

    def frozen(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> PairForm:
        """Give each support its part of its own class's prototype: the flow times its cells' coefficients."""
        found = self._frozen_pairs(query, supports, similarity)
        flow = found.flow @ self._learned(supports).own.to(query)
        return PairForm(found.channels, flow, is_centered=self.centered)

    def _frozen_pairs(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> PairForm:
        """Return the comparison with each prototype, weights of pairs frozen."""
        means = self._means(supports)
        flow = self._solved(query, means, self._compared(query, means, similarity)).flow[..., None, :, :]
        ours = self._seen(self.own_cells(query))[..., None, None, :, :]
        pairs = similarity.form(ours[..., :, None, :], self._seen(means)[..., None, None, :, :])
        return PairForm.of_pairs(flow, pairs, ours)  # type: ignore[arg-type]

    def _means(self, supports: SupportSet) -> Tensor:
        """Return the learned prototypes in the place of the means."""
        return self._learned(supports).prototypes.to(supports.embeddings)

    def _learned(self, supports: SupportSet) -> "Learned":
        """Learn from each set of supports, or remember it."""
        embeddings, valid = supports.embeddings.detach().double().cpu(), supports.valid.cpu()
        leading = torch.broadcast_shapes(embeddings.shape[:-3], valid.shape[:-2])
        every = embeddings.expand(*leading, *embeddings.shape[-3:]).reshape(-1, *embeddings.shape[-3:])
        real = valid.expand(*leading, *valid.shape[-2:]).reshape(-1, *valid.shape[-2:])
        found = [_learned(self, _Supports.of(*each)) for each in zip(every, real, strict=True)]
        parts = [torch.stack(part) for part in zip(*(one.parts for one in found), strict=True)]
        return Learned(*(part.reshape(*leading, *part.shape[1:]) for part in parts))

    def learn(self, embeddings: Float[Tensor, "way shot flat"], valid: Bool[Tensor, "way shot"]) -> "Learned":
        """Learn the prototypes of one episode."""
        way, shot = valid.shape
        cells = self.own_cells(embeddings)
        labels, places = valid.nonzero().unbind(dim=-1)
        counts = valid.sum(dim=-1)
        epochs = self.epochs if int(counts.amax()) > 1 else 0
        descent = Descent(epochs, self.learning_rate, int(self.batch_size), self.scale, int(self.seed))
        alpha = descent.coefficients(cells[valid], labels, way, centered=self.centered).movedim(2, 1)
        is_own = (labels == torch.arange(way)[:, None])[..., None, None]
        own = alpha.new_zeros(way, shot, *alpha.shape[-2:])
        own[labels, places] = alpha[labels, torch.arange(len(labels))]
        seen = self._seen(cells[valid])
        others = torch.einsum("csrq,sqj->crj", alpha * ~is_own, seen)
        held = torch.einsum("csrq,csqj->crj", own, self._seen(cells.masked_fill(~valid[..., None, None], 0)))
        means = super()._means(SupportSet(embeddings, valid, ()))  # centering takes nothing else of them than this
        return Learned(held + others + (means - self._seen(means)), own, others)

    def _check(self, query: Tensor, similarity: Similarity) -> None:
        super()._check(query, similarity)
        if traits_of(similarity).inner_product_of is not direction:
            raise Mistake("expected similarity='cosine' with deep-emd-sfc, but got another; use cosine, or deep-emd.")


@lru_cache(maxsize=REMEMBERED)
def _learned(rule: StructuredDeepEMD, supports: _Supports) -> Learned:
    return rule.learn(*supports.values.pop())


STRUCTURED = StructuredDeepEMD()
