"""What all decisions over local features share."""

import abc
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, every_valid
from fsl_explain.heads.flatten import cells_of
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.pair_form import PairForm
from fsl_explain.similarities.traits import has_form

AT_ONCE = 2**25  # numbers of a table of pairs of cells
Own = TypeVar("Own", bound="LocalRule")


@dataclass(frozen=True)
class LocalRule(abc.ABC):
    """Scores classes by pairs of cells, of which ``frozen`` says which count and by how much.

    An embedding holds the local features of an image behind each other, channel after channel; ``channels`` is the
    number J of one cell's. None: it is one cell. ``fsl_explain.explain`` and the evaluations see to both.

    Raises: ``ValueError`` for channels below 1.
    """

    channels: int | None = None

    is_linear_in_embeddings: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.channels is not None and self.channels < 1:
            raise Mistake(
                f"{type(self).__name__} needs cells of at least 1 channel, but got {self.channels}; None: one cell."
            )

    @abc.abstractmethod
    def frozen(self, query: Float[Tensor, "*batch flat"], supports: SupportSet, similarity: Similarity) -> PairForm:
        """Return the comparison with each support, weights of pairs frozen; the values of a class sum to its score.

        An image is D cells of J numbers behind each other.
        """

    @abc.abstractmethod
    def scored(
        self, query: Float[Tensor, "query flat"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "query way"]:
        """Return the score of each class, whatever is padding; by a road of its own."""

    def of_channels(self: Own, channels: int) -> Own:
        """Return the same rule for cells of so many channels. Raises: ``ValueError`` for channels below 1."""
        return replace(self, channels=channels)

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Score every class, minus infinity without a support; queries go through a part of them at a time.

        Raises: ``ValueError`` for a similarity without a form, or embeddings that are no multiple of ``channels``.
        """
        self._check(query, similarity)
        found = torch.cat([self.scored(*part, similarity) for part in self._parts(query, supports)])
        scores = found.reshape(*_leading(query, supports), found.shape[-1])
        return scores.masked_fill(~supports.valid.any(dim=-1), -torch.inf)

    decision_scores = class_scores
    voters: ClassVar["staticmethod[..., Tensor]"] = staticmethod(every_valid)

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],  # noqa: ARG002 - the signature of every rule
        supports: SupportSet,
        similarity: Similarity,  # noqa: ARG002
    ) -> Weights:
        """Weigh the comparison with each support by 1; how much a pair of cells counts is in the comparison."""
        return Weights(class_weights[..., None] * supports.valid, {})

    def form(self, query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity) -> PairForm:
        """Return the comparison with each support as linear in either side. Raises: as ``class_scores``."""
        self._check(query, similarity)
        return self.frozen(query, supports, similarity)

    def own_cells(self, values: Float[Tensor, "*batch flat"]) -> Float[Tensor, "*batch cell channel"]:
        """Return local features by cell."""
        return cells_of(values, values.shape[-1] if self.channels is None else self.channels)

    def table(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way shot p r"]:
        """Return the similarity of each cell p of the query to each cell r of each support, padding among them."""
        ours, theirs = self.own_cells(query), self.own_cells(supports.embeddings)
        way, shot, cells = theirs.shape[-4:-1]
        gallery = theirs.flatten(start_dim=-4, end_dim=-2)
        if gallery.dim() == 2:  # shared supports: one product for all queries
            found = similarity.pairwise(ours.reshape(-1, ours.shape[-1]), gallery).reshape(*ours.shape[:-1], -1)
        else:
            found = similarity.pairwise(ours, gallery)
        pairs: Tensor = found.unflatten(-1, (way, shot, cells)).movedim(-4, -2)
        return pairs

    def paired(
        self,
        weights: Float[Tensor, "*batch way shot p r"],
        query: Float[Tensor, "*batch flat"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> PairForm:
        """Return Σ_pr T_pr s(x_p, y_r) for each support, for weights T of its pairs."""
        ours, theirs = self.own_cells(query)[..., None, None, :, :], self.own_cells(supports.embeddings)
        pairs = similarity.form(ours[..., :, None, :], theirs[..., None, :, :])
        return PairForm.of_pairs(weights, pairs, ours)  # type: ignore[arg-type]

    def _check(self, query: Tensor, similarity: Similarity) -> None:
        if not has_form(similarity):
            raise Mistake(
                f"{type(self).__name__} compares pairs of cells, but {type(similarity).__name__} has no form for them; "
                "use similarity='cosine', 'inner-product' or 'euclidean'."
            )
        if self.channels is not None and query.shape[-1] % self.channels:
            raise Mistake(
                f"expected local features of {self.channels} channels, but embeddings of {query.shape[-1]} numbers are "
                "no multiple of that; use an encoder with pooling='flatten'."
            )

    def _parts(self, query: Tensor, supports: SupportSet) -> list[tuple[Tensor, SupportSet]]:
        """Cut queries so that no table of their pairs is too large."""
        leading, shared = _leading(query, supports), supports.embeddings.dim() == 3
        rows = query.expand(*leading, query.shape[-1]).reshape(-1, query.shape[-1])
        channels = query.shape[-1] if self.channels is None else self.channels
        cells = (query.shape[-1] // channels) * (supports.embeddings.shape[-1] // channels)
        way, shot = supports.embeddings.shape[-3:-1]
        step = max(1, AT_ONCE // max(1, way * shot * cells))
        parts = [slice(at, at + step) for at in range(0, len(rows), step)]
        if shared and supports.valid.dim() == 2:
            return [(rows[part], supports) for part in parts]
        embeddings = supports.embeddings.expand(*leading, *supports.embeddings.shape[-3:]).flatten(0, len(leading) - 1)
        valid = supports.valid.expand(*leading, way, shot).reshape(-1, way, shot)
        return [(rows[part], SupportSet(embeddings[part], valid[part], supports.classes)) for part in parts]


def _leading(query: Tensor, supports: SupportSet) -> torch.Size:
    theirs = (supports.embeddings.shape[:-3], supports.valid.shape[:-2])
    shape: torch.Size = torch.broadcast_shapes(query.shape[:-1], *theirs)
    return shape


def without_padding(
    values: Float[Tensor, "*batch way shot p r"], valid: Bool[Tensor, "*#batch way shot"], fill: float
) -> Float[Tensor, "*batch way shot p r"]:
    """Fill the pairs with cells of padding."""
    return values.masked_fill(~valid[..., None, None], fill)


def is_local(rule: Any) -> bool:
    """Say whether a rule compares local features, and so needs them behind each other as embeddings."""
    return isinstance(rule, LocalRule)
