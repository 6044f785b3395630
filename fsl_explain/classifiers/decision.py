"""What a classifier by similarity is given and what it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.brief import brief
from fsl_explain.encoder import Features
from fsl_explain.similarities import AnyForm, PairForm, Similarity


@dataclass(frozen=True)
class SupportSet:
    """The labeled images of an episode, padded to one number of shots; ``valid`` marks the real ones.

    ``embeddings`` of padding may hold any finite values. ``classes`` are the names of the classes, in their order.
    ``features`` holds activation maps where the support side is explained, and is None where only embeddings are kept.
    ``unlabeled`` are the embeddings of the episode's images that are to be decided, for rules that look at them
    together. All tensors may have leading dimensions of their own, which broadcast.
    """

    embeddings: Float[Tensor, "*#batch way shot channel"]
    valid: Bool[Tensor, "*#batch way shot"]
    classes: tuple[str, ...]
    features: Features | None = None
    unlabeled: Float[Tensor, "*#batch unlabeled channel"] | None = None

    def __getitem__(self, index: int | slice) -> "SupportSet":
        """Return the supports of one query, or of some, where each query has its own."""
        features = None if self.features is None else self.features[index]
        shared = self.unlabeled is None or self.unlabeled.dim() == 2
        unlabeled = self.unlabeled if shared else self.unlabeled[index]  # type: ignore[index]
        return SupportSet(self.embeddings[index], self.valid[index], self.classes, features, unlabeled)


@dataclass(frozen=True)
class Decision:
    """The score of every class, and the class with the largest; the lowest index wins a tie.

    ``label`` is the place of that class in ``classes``, the names: an int for one query, a tensor for a batch.
    ``scores`` stand in the same order, in float64 where ``explain`` made them, larger for more alike. Their unit is the
    rule's: similarities, logits, logarithms of votes or numbers of them; minus infinity: nothing speaks for the class.
    """

    label: int | Int[Tensor, "*batch"]
    scores: Float[Tensor, "*batch way"]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self)

    @property
    def name(self) -> str:
        """The name of the decided class, for a single query. Raises: ``ValueError`` for a batch."""
        if not isinstance(self.label, int) and self.label.dim() > 0:
            raise Mistake(
                f"expected the decision of one query, but got those of {tuple(self.label.shape)}; use decision.names."
            )
        return self.classes[int(self.label)]

    @property
    def names(self) -> list[Any]:
        """The names of the decided classes, a list as long as the batch, nested as its dimensions are."""
        return _named(torch.as_tensor(self.label), self.classes)


@dataclass(frozen=True)
class Weights:
    """A combination of class scores as Σ_k weight_k S_k + Σ slopes·z' + Σ constants, S_k the similarity to support k.

    ``supports`` are the weights, 0 for padding and of any sign: the more alike the query is to a support of negative
    weight, the smaller the combination. Each constant is named after what it stands for. So is each slope: a frozen
    vector that the query's embedding z' is multiplied with beside the supports, such as what unlabeled images add to a
    prototype.
    """

    supports: Float[Tensor, "*batch way shot"]
    constants: Mapping[str, Float[Tensor, "*batch"]]
    slopes: Mapping[str, Float[Tensor, "*batch channel"]] = field(default_factory=dict)


@runtime_checkable
class Rule(Protocol):
    """How similarities to supports become class scores.

    Law: with ``found = weights(class_weights, …)``, ``(found.supports * similarities).sum((-2, -1))`` plus
    the slopes times the query and the constants is ``(class_weights * class_scores(…)).sum(-1)``, by another
    route. A class without any vote scores minus infinity; its class weight must be 0.
    """

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Score every class; larger is more alike. These are the scores that are explained."""
        ...

    def decision_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return what the decision is the largest of: the class scores, or a count of votes."""
        ...

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Write Σ_c class_weights_c · class_scores_c as a weighted sum of similarities to the supports.

        ``class_weights`` may have any sign: 1 for one class alone is its score, 1 and -1 are a contrast of two.
        """
        ...

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark the supports that made their class's score; FAM averages over those of the target."""
        ...


@runtime_checkable
class NeighborRule(Rule, Protocol):
    """A rule by which the nearest neighbors alone decide, so that it decides over a bank of images.

    Law: with the neighbors as supports of their classes, both scores are those of ``class_scores`` and
    ``decision_scores``.
    """

    def scores_of_voters(
        self, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
    ) -> tuple[Float[Tensor, "query way"], Float[Tensor, "query way"]]:
        """Return each class's score, minus infinity without a neighbor, and what the decision is the largest of.

        ``similarities`` fall from the nearest neighbor on; ``labels`` are the neighbors' classes, from 0 up to
        ``classes``, which is how many there are.
        """
        ...


@runtime_checkable
class Vote(NeighborRule, Protocol):
    """A rule by which each of the k nearest neighbors adds a vote to its class."""

    @property
    def k(self) -> int | None:
        """How many vote; None: 200, or all where there are fewer."""
        ...

    @property
    def words(self) -> str:
        """How votes are counted, for a page."""
        ...

    def of(self, k: int | None) -> "Vote":
        """Return the same vote of ``k`` neighbors; None as ``k`` says."""
        ...

    def votes(self, below_first: Float[Tensor, "*neighbors"]) -> Float[Tensor, "*neighbors"]:
        """Return each neighbor's vote from its similarity minus that of the nearest, up to a factor of the query.

        ``below_first`` is at most 0; the larger, the larger the vote, which is never negative.
        """
        ...

    def shares(self, ranking: Float[Tensor, "*query way"]) -> Float[Tensor, "*query way"]:
        """Return each class's share of all votes, from 0 to 1; ``ranking`` is what the decision is the largest of."""
        ...


def is_linear_in_embeddings(rule: Rule) -> bool:
    """Say whether the combinations of class scores are linear in the query's embedding where the similarity is.

    A rule that does not say so, by an attribute of this name, is not taken to be.
    """
    return bool(getattr(rule, "is_linear_in_embeddings", False))


def needs_unlabeled(rule: Rule) -> bool:
    """Say whether a rule looks at all images of an episode together, so that it wants those to be decided."""
    return bool(getattr(rule, "needs_unlabeled", False))


def combined(
    class_weights: Float[Tensor, "*#batch way"], scores: Float[Tensor, "*#batch way"]
) -> Float[Tensor, "*batch"]:
    """Return Σ_c class_weights_c scores_c; a class of weight 0 has no say even where its score is infinite."""
    return torch.where(class_weights != 0, class_weights * scores, 0).sum(dim=-1)


def _named(labels: Tensor, classes: tuple[str, ...]) -> list[Any]:
    rows = labels.reshape(1) if labels.dim() == 0 else labels
    return [classes[int(row)] if row.dim() == 0 else _named(row, classes) for row in rows]


def decide(scores: Float[Tensor, "*batch way"], classes: tuple[str, ...]) -> Decision:
    """Pick the class with the largest score; the lowest index wins a tie.

    Raises: ``ValueError`` for another number of names in ``classes`` than of scores, or for none.
    """
    if not 0 < len(classes) == scores.shape[-1]:
        raise Mistake(
            f"expected a name for each class that has a score, but got {len(classes)} names and {scores.shape[-1]} "
            "scores; give both in the same order."
        )
    label = scores.argmax(dim=-1)
    return Decision(label=int(label) if label.dim() == 0 else label, scores=scores, classes=classes)


def pairwise_to_supports(
    query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way shot"]:
    """Return the similarity of each query to each of its supports; that to padding means nothing."""
    way, shot = supports.embeddings.shape[-3:-1]
    gallery = supports.embeddings.flatten(start_dim=-3, end_dim=-2)
    if gallery.dim() == 2:  # shared supports: one product for all queries
        return similarity.pairwise(query.reshape(-1, query.shape[-1]), gallery).reshape(*query.shape[:-1], way, shot)
    similarities: Tensor = similarity.pairwise(query[..., None, :], gallery).squeeze(-2).unflatten(-1, (way, shot))
    return similarities


def compared_with(rule: Rule, supports: SupportSet, similarity: Similarity) -> SupportSet:
    """Return what a rule compares a query with in the place of each support: the supports themselves, as a rule.

    One that compares all supports of a class as one has a function of this name, of supports and similarity.
    """
    own = getattr(rule, "compared_with", None)
    found: SupportSet = supports if own is None else own(supports, similarity)
    return found


def frozen_part(rule: object) -> str:
    """Name what a rule holds at the query's own value in an explanation (``holds_frozen``); "" for most."""
    return str(getattr(rule, "holds_frozen", ""))


def has_own_form(rule: object) -> bool:
    """Say whether a rule compares images in a form of its own, by a method ``form``, and not by the similarity's."""
    return callable(getattr(rule, "form", None))


def similarities_to(
    rule: Rule, query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way shot"]:
    """Return the S_k that a rule weighs: of most the similarity to each support, or to what is compared in its place.

    A rule that compares images in another way has a method ``form`` of the same arguments but the first, which writes
    these as linear in either side.
    """
    if not has_own_form(rule):
        return pairwise_to_supports(query, compared_with(rule, supports, similarity), similarity)
    return form_of(rule, query, supports, similarity).value(query[..., None, None, :], supports.embeddings)


def form_of(
    rule: Rule,
    query: Float[Tensor, "*batch channel"],
    supports: SupportSet,
    similarity: Similarity,
    chosen: tuple[slice, slice] | None = None,
) -> AnyForm:
    """Write the S_k of a ``rule``, as ``similarities_to`` gives them, as linear in either side.

    They are of all supports, or of those ``chosen`` by a slice of the classes and one of their shots.

    Raises: ``ValueError`` for a similarity without a form.
    """
    if has_own_form(rule):
        found: PairForm = rule.form(query, supports, similarity)  # type: ignore[attr-defined]
        return found if chosen is None else found.at(chosen)
    compared = compared_with(rule, supports, similarity).embeddings
    return similarity.form(query[..., None, None, :], compared if chosen is None else compared[chosen])


def every_valid(
    query: Float[Tensor, "*#batch channel"],
    supports: SupportSet,
    similarity: Similarity,  # noqa: ARG001 - the signature of every rule
) -> Bool[Tensor, "*batch way shot"]:
    """Mark all supports that are not padding, for rules in which every support has a say."""
    leading = torch.broadcast_shapes(query.shape[:-1], supports.valid.shape[:-2])
    return supports.valid.expand(*leading, *supports.valid.shape[-2:])
