"""The first neighbors of a search, put in the order of a rule that compares cells: late interaction.

Source: re-ranking by MaxSim as in ColBERT (Khattab and Zaharia, 2020), over cells in the place of tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.batches import slices
from fsl_explain.brief import brief
from fsl_explain.classifiers import RULES, Rule, StructuredDeepEMD, SupportSet
from fsl_explain.classifiers.local.local_features import features_for, local_features, rule_for
from fsl_explain.classifiers.local.rule import LocalRule, is_local
from fsl_explain.encoder import Encoder, Features
from fsl_explain.registries import LOCAL_RULES
from retrieval_explain.decisions.explained_neighbors import Retrieved, retrieve
from retrieval_explain.local.local_features import LocalFeatures
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.ranking.neighbors import Neighbors

AT_ONCE = 2**22  # numbers of candidates in float64


@dataclass(frozen=True)
class Reranked:
    """Neighbors in the order of a rule that compares cells, beside what the bank's own search says of them.

    ``retrieved`` has the candidates in their first order, ``places`` are those of the neighbors among them, from 0.
    ``scores`` are the rule's, in float64, larger is more alike; the largest comes first, and equal ones as they were.
    """

    retrieved: Retrieved
    rule: str | LocalRule
    places: Int[Tensor, "k"]
    scores: Float[Tensor, "k"]

    @property
    def neighbors(self) -> Neighbors:
        """The neighbors in the new order, with the similarities of the search, by which they are not ordered."""
        return Neighbors(self.indices, self.similarities, self.labels)

    @property
    def indices(self) -> Int[Tensor, "k"]:
        """Rows of the bank."""
        return self.retrieved.neighbors.indices[self.places]

    @property
    def similarities(self) -> Float[Tensor, "k"]:
        """Similarities of the embeddings, by which they were found, in the new order; larger is more alike."""
        return self.retrieved.neighbors.similarities[self.places]

    @property
    def labels(self) -> Int[Tensor, "k"]:
        """Labels of the rows, -1 where one has none."""
        return self.retrieved.bank.labels[self.indices]

    @property
    def first_ranks(self) -> Int[Tensor, "k"]:
        """The rank of each, from 1, before."""
        return self.places + 1

    def __repr__(self) -> str:
        return brief(self)


def reranked(
    encoder: Encoder,
    query: Float[Tensor, "*batch color height width"],
    bank: MemoryBank,
    *,
    rule: str | Rule = "max-sim",
    first: int | None = None,
    k: int | None = None,
    local: LocalFeatures | None = None,
    classes: Sequence[str] | Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    without: Sequence[int] | Int[Tensor, "..."] | None = None,
) -> Reranked:
    """Search the ``first`` neighbors of a preprocessed query, and return the k best of them by a rule over cells.

    ``first`` of None is 200, or all where there are fewer; ``k`` of None is all of them. ``rule`` is ``max-sim``
    (ColBERT), ``dn4`` or ``deep-emd``, by the bank's similarity of two cells, ``frn``, by a distance of its own, or an
    object. It scores each image alone, in float64, and larger is more alike: from -P to P for max-sim of P cells and
    the cosine, in [-1, 1] for deep-emd, at most 0 for frn. ``local`` are the bank's local features, those in its folder
    if None. Filters are those of ``MemoryBank.search``. A row beyond the first ones cannot come back, however well its
    cells match.

    Raises: ``ValueError`` for an encoder other than the bank's, local features of other rows, a rule that compares no
    cells, or a k above ``first``; ``LookupError`` for an unknown rule; ``FileNotFoundError`` where no local features
    are kept; ``ImportError`` for ``deep-emd`` without its solver; otherwise as ``retrieve``.
    """
    _expect_local(rule)
    if k is not None and first is not None and k > first:
        raise Mistake(f"expected at most the first {first} neighbors, but k is {k}; raise first or lower k.")
    kept = _kept_for(encoder, bank, local)
    retrieved = retrieve(encoder, query, bank, k=first, classes=classes, ids=ids, without=without)
    return _in_order(retrieved, rule, k, kept)


def ranked_again(
    retrieved: Retrieved, rule: str | Rule = "max-sim", k: int | None = None, local: LocalFeatures | None = None
) -> Reranked:
    """Return the k best of the neighbors that were found, by a rule over cells; as ``reranked``."""
    _expect_local(rule)
    return _in_order(retrieved, rule, k, _kept_for(retrieved.encoder, retrieved.bank, local))


def _in_order(retrieved: Retrieved, rule: str | Rule, k: int | None, kept: LocalFeatures) -> Reranked:
    encoder, candidates = retrieved.encoder, retrieved.neighbors.indices
    if k is not None and not 1 <= k <= len(candidates):
        raise Mistake(f"expected a k from 1 to the {len(candidates)} candidates, but got {k}.")
    scores = cell_scores(rule, features_for(retrieved.features[None], local_features(encoder)), kept, candidates)
    scores, places = scores.sort(descending=True, stable=True)
    return Reranked(retrieved, rule, places[:k], scores[:k])  # type: ignore[arg-type]


def cell_scores(
    rule: str | Rule, query: Features, local: LocalFeatures, rows: Int[Tensor, "row"]
) -> Float[Tensor, "row"]:
    """Return the score of each row by a rule that compares cells, in float64.

    ``query`` are the local features of one image, as a batch. A few rows are read at a time.
    """
    chosen = rule_for(RULES[rule] if isinstance(rule, str) else rule, query)
    ours, similarity = query.embedding[0].cpu().double(), local.bank.compared_by
    parts = []
    for part in slices(len(rows), max(1, AT_ONCE // max(1, ours.shape[-1]))):
        theirs = local.take(rows[part]).double()[:, None]
        valid = torch.ones(len(theirs), 1, dtype=torch.bool)
        supports = SupportSet(theirs, valid, tuple(f"row {row}" for row in rows[part].tolist()))
        parts.append(chosen.class_scores(ours, supports, similarity))
    return torch.cat(parts)


def _kept_for(encoder: Encoder, bank: MemoryBank, local: LocalFeatures | None) -> LocalFeatures:
    """Return local features of this very bank, made by this encoder as the bank was."""
    kept = LocalFeatures.load(bank) if local is None else local
    kept = kept if kept.bank is bank else LocalFeatures(bank, kept.files)  # whose rows are then checked
    bank.expect_encoder(encoder)
    kept.expect_encoder(encoder)
    return kept


def _expect_local(rule: str | Rule) -> None:
    """Refuse a rule that compares no cells. Raises: ``ValueError``, or ``LookupError`` for an unknown name."""
    if isinstance(rule, str) and rule not in RULES:
        raise unknown_name("rule over local features", rule, LOCAL_RULES)
    found = RULES[rule] if isinstance(rule, str) else rule
    if not is_local(found) or isinstance(found, StructuredDeepEMD):  # which learns nothing of single images
        given = rule if isinstance(rule, str) else type(rule).__name__
        raise Mistake(f"expected a rule that compares cells, {', '.join(LOCAL_RULES)}, but got {given}.")
