"""Decisions over a bank as decisions over supports: the neighbors that voted are the supports of their classes.

Every explainer of ``fsl_explain`` then applies. The query side needs the cached embeddings alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import NeighborRule, Rule, SupportSet, Vote, named_rule, neighbor_rules, votes
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import Compared, as_batch
from fsl_explain.explainers.contrast_weights import Against, ClassReference
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from retrieval_explain.decisions.asked_decisions import as_it_is, expect_order, expect_same, expect_text_alone
from retrieval_explain.decisions.far_targets import joined, listed
from retrieval_explain.decisions.text_queries import explain_text
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.store.row_filter import allowed_rows

COMPARED_IMAGES = 10  # neighbors that stand as classes of their own where retrieval is explained


@dataclass(frozen=True)
class Retrieved:
    """One query and its neighbors in a bank.

    ``encoder`` embeds the query, and neighbors again where they are explained. ``image`` is preprocessed, ``features``
    are its own, with pooled values and embedding in float64, ``neighbors`` its k nearest. ``allowed`` are the rows that
    the filters left to search among (None: all), ``ranks`` those of the neighbors, from 1, where images from further
    down joined them.
    """

    encoder: Encoder
    bank: MemoryBank
    image: Float[Tensor, "color height width"]
    features: Features
    neighbors: Neighbors
    allowed: Bool[Tensor, "row"] | None = None
    ranks: tuple[int, ...] | None = None

    @property
    def compared_by_class(self) -> Compared:
        """The query beside its neighbors, each a support of its own class: for votes.

        Raises: ``ValueError`` where a neighbor has no label.
        """
        return self._beside(voters_by_class(self.bank, self.neighbors))

    @property
    def compared_by_image(self) -> Compared:
        """The query beside its neighbors, each a class of its own: for retrieval's similarity and margin."""
        return self._beside(each_a_class(self.bank, self.neighbors, ranks=self.ranks))

    def _beside(self, supports: SupportSet) -> Compared:
        return Compared(self.encoder, self.image[None], _batched(self.features), supports, None)


def retrieve(
    encoder: Encoder,
    query: Float[Tensor, "*batch color height width"],
    bank: MemoryBank,
    *,
    k: int | None = None,
    classes: Sequence[str] | Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    without: Sequence[int] | Int[Tensor, "..."] | None = None,
) -> Retrieved:
    """Embed a preprocessed query and search its k nearest neighbors; None: 200, or all where there are fewer.

    The filters are those of ``MemoryBank.search``; ``MemoryBank.expect_encoder`` tells whether the encoder is the
    bank's.

    Raises: ``ValueError`` for more than one image, an embedding that cannot be compared, or too large a k;
    ``LookupError`` for an unknown class or id; ``TypeError`` for arguments in another order, or what is not
    preprocessed.
    """
    expect_order(encoder, bank)
    batch = as_batch(query, encoder)
    if len(batch) > 1:
        raise Mistake(f"expected one query, but got a batch of {len(batch)}; explain them one by one.")
    features = encoder(batch).in_float64()
    found = bank.search(features.embedding, k, classes=classes, ids=ids, without=without)
    allowed = allowed_rows(bank.entries, len(bank), classes, ids, without)
    return Retrieved(encoder, bank, batch[0], features[0], found[0], allowed)


def retrieve_again(
    retrieved: Retrieved,
    *,
    k: int | None = None,
    classes: Sequence[str] | Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    without: Sequence[int] | Int[Tensor, "..."] | None = None,
) -> Retrieved:
    """Search for the same query in the same bank, without embedding it again. Parameters and errors as ``retrieve``."""
    bank = retrieved.bank
    found = bank.search(retrieved.features.embedding[None], k, classes=classes, ids=ids, without=without)
    allowed = allowed_rows(bank.entries, len(bank), classes, ids, without)
    return replace(retrieved, neighbors=found[0], allowed=allowed)


def explain(
    encoder: Encoder,
    query: Float[Tensor, "*batch color height width"] | None = None,
    bank: MemoryBank | None = None,
    *,
    text: str | Sequence[str] | None = None,
    method: str = "exact",
    rule: str | Rule = "knn-vote",
    k: int | None = None,
    temperature: float | None = None,
    target: ClassReference | None = None,
    against: Against = None,
) -> Explanation:
    """Explain a decision over the bank, from the stored embeddings of the neighbors alone.

    ``rule`` is a rule over neighbors or its name: ``knn-vote`` (the class's log vote, each neighbor's being
    exp(similarity / ``temperature``), 0.07 if None, as NPID's; a contrast splits into how similar and how many),
    ``majority-vote`` (the mean similarity of a class's voters, as FAM evaluates it) or ``nearest-neighbor`` (retrieval:
    every image is a class of its own, so that the score is the similarity of the first and a contrast the margin to the
    second). ``k`` neighbors are looked at; None: 200, for retrieval 10, or all where there are fewer. ``target`` (the
    winner if None) and ``against`` are class names; for retrieval ranks from 0, paths or ``id:NUMBER``, of any image
    however far down. ``method`` is an explainer as in ``fsl_explain.explain``; ``against`` belongs to contrasts.
    Support maps are NaN: no image of the bank is embedded again.

    A ``text`` in place of the query is compared with images by the encoder's text tower. The roles are then swapped:
    the explanation is of one image of the bank, ``target``, whose cells add up to its similarity to the text, and
    ``against`` are other texts; ``explain_text`` says more.

    Raises: as ``search`` and ``fsl_explain.explain``; ``ValueError`` for an encoder other than the bank's, a vote of
    images without labels, or a ``k`` or ``temperature`` that the rule does not take.
    """
    expect_order(encoder, bank)
    assert bank is not None
    if text is not None:
        expect_text_alone(query, rule, k, temperature)
        return explain_text(encoder, text, bank, method=method, target=target, against=against)  # type: ignore[arg-type]
    if query is None:
        raise Mistake("expected a query image or a text, but got none of them; give one of the two.")
    bank.expect_encoder(encoder)
    chosen = named_rule(rule, None, temperature) if isinstance(rule, str) else as_it_is(rule, temperature)
    retrieved = retrieve(encoder, query, bank, k=neighbors_needed(chosen, k, len(bank)))
    return explain_retrieved(retrieved, method, chosen, target, against)


def explain_retrieved(
    retrieved: Retrieved,
    method: str,
    rule: Rule,
    target: ClassReference | None = None,
    against: Against = None,
) -> Explanation:
    """Explain the decision of a rule over the neighbors that were found.

    Retrieval answers for images that were not found as well: those that ``target`` and ``against`` name join them.
    """
    if not isinstance(rule, Vote):
        retrieved, target, against = _with_targets(retrieved, target, against)
    choice = Choice(over_all(rule, retrieved.neighbors), retrieved.bank.similarity, target, against)
    compared = retrieved.compared_by_class if isinstance(rule, Vote) else retrieved.compared_by_image
    return explain_compared(compared, method, choice)[0]


def _with_targets(
    retrieved: Retrieved, target: ClassReference | None, against: Against
) -> tuple[Retrieved, ClassReference | None, Against]:
    """Let the images join the neighbors that are asked about, and refer to them by their places."""
    rivals = listed(against)
    asked = [*([] if target is None else [target]), *(rivals or [])]
    if not asked:
        return retrieved, target, against
    names = retrieved.compared_by_image.supports.classes
    neighbors, ranks, places = joined(
        retrieved.bank, retrieved.features.embedding, retrieved.neighbors, asked, names, allowed=retrieved.allowed
    )
    chosen = None if target is None else places.pop(0)
    return replace(retrieved, neighbors=neighbors, ranks=ranks), chosen, against if rivals is None else places


def neighbors_needed(rule: Rule, k: int | None, rows: int) -> int | None:
    """Return how many neighbors a rule looks at: its own k, the one asked for, or the usual number.

    Raises: ``ValueError`` for a rule that is none over a bank.
    """
    if not isinstance(rule, NeighborRule):
        *others, last = dict.fromkeys((*votes(), *neighbor_rules()))
        raise Mistake(
            "expected a decision over neighbors, but the rule looks at all images of a class; "
            f"use {', '.join(others)} or {last}."
        )
    if k is not None:
        expect_same(rule, k)
        return k
    if not isinstance(rule, Vote):
        return min(COMPARED_IMAGES, rows)
    return min(DEFAULT_K, rows) if rule.k is None else rule.k


def over_all(rule: Rule, neighbors: Neighbors) -> Rule:
    """Let every neighbor that was found vote. Raises: ``ValueError`` for a vote that is of another number."""
    expect_same(rule, neighbors.indices.shape[-1])
    return rule.of(neighbors.indices.shape[-1]) if isinstance(rule, Vote) else rule


def voters_by_class(bank: MemoryBank, neighbors: Neighbors) -> SupportSet:
    """Gather one query's neighbors as the supports of their classes, nearest first, classes in the bank's order.

    Raises: ``ValueError`` where a neighbor has no label.
    """
    labels = bank.labels[neighbors.indices]
    if bool((labels < 0).any()):
        raise Mistake(
            f"{int((labels < 0).sum())} of {len(labels)} neighbors have no label, so they cannot vote; "
            "use nearest-neighbor, or search among labeled classes."
        )
    present = labels.unique()
    places, valid = places_of(labels, present)
    return SupportSet(
        bank.rows.take(neighbors.indices[places]).double(), valid, tuple(class_name(bank, int(i)) for i in present)
    )


def each_a_class(bank: MemoryBank, neighbors: Neighbors, *, ranks: Sequence[int] | None = None) -> SupportSet:
    """Gather one query's neighbors, each a class of its own that is named by its rank and file.

    ``ranks`` are those of the neighbors, from 1; None where they are 1, 2, 3, …
    """
    rows = neighbors.indices.tolist()
    names = tuple(
        image_name(bank, int(row), rank) for rank, row in zip(ranks or range(1, len(rows) + 1), rows, strict=True)
    )
    embeddings = bank.rows.take(neighbors.indices).double()[:, None]
    return SupportSet(embeddings, torch.ones(len(names), 1, dtype=torch.bool), names)


def places_of(
    labels: Int[Tensor, "*batch k"], classes: Int[Tensor, "*batch way"]
) -> tuple[Int[Tensor, "*batch way shot"], Bool[Tensor, "*batch way shot"]]:
    """Return where each class's members stand among the neighbors, nearest first, and which entries are real.

    Entries that are not real are the places of others.
    """
    members = labels[..., None, :] == classes[..., None]
    shot = max(1, int(members.sum(dim=-1).amax()))
    order = members.int().argsort(dim=-1, descending=True, stable=True)[..., :shot]
    return order, members.gather(-1, order)


def class_name(bank: MemoryBank, label: int) -> str:
    """Return the name of a label: the class it stands for, or the number itself."""
    return bank.classes[label] if bank.classes else str(label)


def image_name(bank: MemoryBank, row: int, rank: int) -> str:
    """Name a neighbor by its rank, from 1, and its file, or else its row."""
    return f"#{rank} {Path(bank.paths[row]).name or f'row {row}'}"


def _batched(features: Features) -> Features:
    return features[None]
