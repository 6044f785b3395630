"""Correspondence: which cell of the query met which cell of a support, in numbers that add up.

One support's addend w_k S_k is split over pairs of cells by writing both embeddings as sums over cells,
z' = Σ_p G_z P_p + b_z and q' = Σ_r G_q Q_r + b_q, each with gains frozen at its own image. A row and a column
for the biases hold what belongs to one image, or to none.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, UnknownName
from episodes.position import position
from fsl_explain.classifiers import compared_with, form_of
from fsl_explain.explainers.contrast_weights import ClassReference, class_index
from fsl_explain.explainers.evidence import EVERY, Addends, Evidence, Missing, evidence_of, there
from fsl_explain.explainers.explanation import Explanation, expect_explanation
from fsl_explain.explainers.question import Question
from fsl_explain.similarities import AnyForm


@dataclass(frozen=True)
class Match:
    """Two cells, each as (row, column) from 0, and the signed share of the score that they make together."""

    query: tuple[int, int]
    support: tuple[int, int]
    amount: float


@dataclass(frozen=True)
class Part:
    """One singular part of the table: a pattern of query cells that met a pattern of support cells.

    The part of the table is ``strength`` · query ⊗ support; both patterns have norm 1.
    """

    strength: float  # singular value
    query: Float[Tensor, "h w"]
    support: Float[Tensor, "_h _w"]

    @property
    def amount(self) -> float:
        """The share of the score that the part holds; a negative one speaks against it."""
        return float(self.strength * self.query.sum() * self.support.sum())


@dataclass(frozen=True)
class Correspondence:
    """Query cells × support cells of one support; all entries sum to its addend w_k S_k, a part of the score.

    A negative entry speaks against the score.
    The last row holds what the support's cells make with the query's bias, the last column what the
    query's cells make with the support's. Row sums are the query's cells, column sums the support's.

    ``table`` is in float64, on the CPU, in the unit of the score; its cells are numbered row by row. ``shape`` is
    (h, w) of the query's cells, ``support_shape`` of the support's. The support is number ``shot``, from 0, of the
    class ``class_name``; ``weight`` is its w_k, negative where it counts against the score, and ``similarity`` its S_k,
    larger where it is more alike.
    """

    table: Float[Tensor, "cells _cells"]
    shape: tuple[int, int]
    support_shape: tuple[int, int]
    class_name: str
    shot: int
    weight: float
    similarity: float

    @property
    def pairs(self) -> Float[Tensor, "h w _h _w"]:
        """The table without its bias row and column."""
        return self.table[:-1, :-1].reshape(*self.shape, *self.support_shape)

    @property
    def cells(self) -> tuple[Float[Tensor, "h w"], Float[Tensor, "_h _w"]]:
        """What each query cell, and what each support cell, holds of the addend, biases of the other side included."""
        rows, columns = self.table.sum(dim=1)[:-1], self.table.sum(dim=0)[:-1]
        return rows.reshape(self.shape), columns.reshape(self.support_shape)

    @property
    def folded(self) -> Float[Tensor, "h w _h _w"]:
        """The pairs with row, column and corner of the biases spread evenly; for display.

        It sums to the addend, but its marginals are not the cell maps. For the Euclidean similarity a pair
        is then as negative as its cells are different.
        """
        rows, columns = math.prod(self.shape), math.prod(self.support_shape)
        column, row, corner = self.table[:-1, -1:], self.table[-1:, :-1], self.table[-1, -1]
        spread = self.table[:-1, :-1] + column / columns + row / rows + corner / (rows * columns)
        return spread.reshape(*self.shape, *self.support_shape)

    def strongest(self, count: int = 5) -> tuple[Match, ...]:
        """Return the ``count`` pairs of cells with the largest absolute share, the first of ties first.

        Raises: ``ValueError`` for a count below 0.
        """
        _expect_count(count)
        order = self.pairs.flatten().abs().argsort(descending=True, stable=True)[:count].tolist()
        return tuple(_match(self.pairs, place) for place in order)

    def strongest_regions(self, count: int = 4, *, side: int = 2) -> tuple[Match, ...]:
        """Return the strongest pairs of square regions, ``side`` cells wide, named by their upper left cells.

        The amount of a pair is the sum over all pairs of their cells. No two returned regions of an image overlap, so
        that there may be fewer than ``count`` pairs.

        Raises: ``ValueError`` for a count below 0, or a side below 1.
        """
        _expect_count(count)
        if side < 1:
            raise Mistake(f"expected regions at least 1 cell wide, but got side={side}.")
        sums = self.pairs
        for dimension in range(4):
            sums = sums.unfold(dimension, min(side, self.pairs.shape[dimension]), 1).sum(dim=-1)
        found: list[Match] = []
        for place in sums.flatten().abs().argsort(descending=True, stable=True).tolist():
            if len(found) == count:
                break
            match = _match(sums, place)
            if all(
                _apart(match.query, other.query, side) and _apart(match.support, other.support, side) for other in found
            ):
                found.append(match)
        return tuple(found)

    def parts(self, count: int = 3) -> tuple[Part, ...]:
        """Return the ``count`` strongest singular parts of the pairs; all of them together are the pairs.

        The sign of a part is chosen so that its query pattern does not sum to a negative number.

        Raises: ``ValueError`` for a count below 0.
        """
        _expect_count(count)
        left, strengths, right = torch.linalg.svd(self.table[:-1, :-1], full_matrices=False)
        signs = torch.where(left.sum(dim=0) < 0, -1.0, 1.0).to(left)
        left, right = left * signs, right * signs[:, None]
        return tuple(
            Part(float(strengths[i]), left[:, i].reshape(self.shape), right[i].reshape(self.support_shape))
            for i in range(min(count, len(strengths)))
        )


def _expect_count(count: int) -> None:
    if count < 0:
        raise Mistake(f"expected a count of 0 or more, but got {count}.")


def _match(pairs: Float[Tensor, "h w _h _w"], place: int) -> Match:
    row, column, other_row, other_column = (int(i) for i in np.unravel_index(place, tuple(pairs.shape)))
    return Match((row, column), (other_row, other_column), float(pairs[row, column, other_row, other_column]))


def _apart(one: tuple[int, int], other: tuple[int, int], side: int) -> bool:
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) >= side


def correspondence(
    explanation: Explanation, *, label: ClassReference | None = None, shot: int | None = None
) -> Correspondence:
    """Split one support's addend w_k S_k over pairs of cells, from the cached features.

    It is that of the decision, whatever ``method`` drew its map. ``label`` is the class of the support, by name or
    index, the explained one if None; ``shot`` its number within the class, from 0, the one with the largest absolute
    addend if None.

    Raises: ``ValueError`` for the explanation of a batch, supports whose activation maps were not kept or that are
    compared as their mean, an embedding that is no sum over cells, or an explanation that was saved without its rule
    or its similarity; ``LookupError`` for a support that is not there; ``TypeError`` for no explanation.
    """
    expect_explanation(explanation)
    if explanation.score.dim() != 0:
        raise Mistake("expected the explanation of one query, but got that of a batch; index it.")
    classes = explanation.decision.classes
    chosen, number = chosen_support(explanation, label, shot)
    found, sums = _tables(explanation.evidence, (slice(chosen, chosen + 1), slice(number, number + 1)))
    return Correspondence(
        table=found[0, 0].cpu(),
        shape=sums.shape,
        support_shape=sums.support_shape,
        class_name=classes[chosen],
        shot=number,
        weight=float(explanation.support_weights[chosen, number]),
        similarity=float(explanation.similarities[chosen, number]),
    )


def chosen_support(explanation: Explanation, label: ClassReference | None, shot: int | None) -> tuple[int, int]:
    """Return the class and the number of a support, the strongest of the explained class where none is named.

    Raises: ``LookupError`` for a support that is not there.
    """
    classes = explanation.decision.classes
    chosen = int(explanation.target) if label is None else class_index(label, classes)
    addends = explanation.support_weights[chosen] * explanation.similarities[chosen]
    shots = int((~addends.isnan()).sum())
    number = int(addends.nan_to_num().abs().argmax()) if shot is None else position(shot, "the number of a shot")
    if not 0 <= number < shots:
        raise UnknownName(f"expected a shot of {classes[chosen]} from 0 to {shots - 1}, but got {number}.")
    return chosen, number


def tables(question: Question) -> Float[Tensor, "*batch way shot cells _cells"]:
    """Return the table of every support, T_pr = w_k P_pᵀ G_zᵀ M_k G_q Q_r.

    All tables and the decision's constants sum to the score. Both sides are projected to the embedding
    first, so that a table costs one product of cells × embedding × cells.
    """
    return _tables(evidence_of(question), EVERY)[0]


def _tables(evidence: Evidence, chosen: tuple[slice, slice]) -> tuple[Tensor, Addends]:
    """Return the tables of the chosen supports of one query, and what they are made of."""
    if _compares_means(evidence):
        raise Mistake(
            "a correspondence is of one support, but here those of a class are compared as their mean, at each scale "
            "in another way; use rule='mean-similarity', or give one prototype image a class."
        )
    addends = evidence.addends(chosen)
    form = _form(evidence, chosen)
    left, right = addends.query[..., None, None, :, :], addends.supports
    return evidence.weights[chosen][..., None, None] * form.table(left, right), addends


def _form(evidence: Evidence, chosen: tuple[slice, slice]) -> AnyForm:
    """Return the form of the comparisons with the chosen supports; most rules have none of their own to say it."""
    similarity, supports, rule = there(evidence.similarity), evidence.supports, evidence.rule
    if isinstance(rule, Missing) and not rule.has_form:
        return similarity.form(evidence.embedding[..., None, None, :], supports.embeddings[chosen])
    return form_of(there(rule), evidence.embedding, supports, similarity, chosen)


def compares_means(explanation: Explanation) -> bool:
    """Say whether the supports of a class are compared as their mean, so that no pairs of cells add up to one's."""
    return _compares_means(explanation.evidence)


def _compares_means(evidence: Evidence) -> bool:
    rule, similarity, supports = evidence.rule, evidence.similarity, evidence.supports
    if isinstance(rule, Missing) or isinstance(similarity, Missing):
        return False
    several = bool((supports.valid.sum(dim=-1) > 1).any())
    return several and compared_with(rule, supports, similarity) is not supports
