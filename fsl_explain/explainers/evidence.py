"""What an explanation is asked further with: the decision's embeddings, and what each cell adds to them.

It is made from a question, or of plain values and tensors from a file; then there is no network, and what could not
be written says so when it is asked for.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import RULES, Rule, SupportSet, has_own_form
from fsl_explain.encoder import Features
from fsl_explain.explainers.question import Question, expect_addends
from fsl_explain.heads import linearize
from fsl_explain.similarities import SIMILARITIES, Mahalanobis, Similarity, similarity_name

EVERY = (slice(None), slice(None))
PRECISION = "mahalanobis"
Part = TypeVar("Part")


@dataclass(frozen=True)
class Missing:
    """A part that is not there; asking for it raises ``ValueError`` with the reason."""

    why: str
    has_form: bool = False  # of a rule: whether it compares images in a form of its own


@dataclass(frozen=True)
class Addends:
    """Embeddings written as sums over cells, with the head's bias as the last addend of each."""

    query: Float[Tensor, "*batch cells embedding"]
    supports: Float[Tensor, "*episodes way shot _cells embedding"]
    shape: tuple[int, int]  # h, w of the query's cells
    support_shape: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """The decision's embeddings, rule and similarity, in float64; ``addends`` those of the chosen supports."""

    embedding: Float[Tensor, "*batch channel"]
    supports: SupportSet  # without maps
    ranking: Float[Tensor, "*batch way"]  # what the decision is the largest of
    rule: Rule | Missing
    similarity: Similarity | Missing
    asked: Question | None  # None: read from a file
    kept: Addends | Missing | None = None
    kept_weights: Float[Tensor, "*batch way shot"] | None = None

    @property
    def weights(self) -> Float[Tensor, "*batch way shot"]:
        """The weight of each support's similarity in the explained score."""
        found = self.kept_weights if self.asked is None else self.asked.weights.supports
        return there(Missing("the weights of the supports were not saved.") if found is None else found)

    def addends(self, chosen: tuple[slice, slice] = EVERY) -> Addends:
        """Return the addends of the query and of the chosen supports. Raises: ``ValueError`` where none were kept."""
        if self.asked is not None:
            return addends_of(self.asked, chosen)
        kept = there(self.kept if self.kept is not None else Missing(NO_MAPS))
        return replace(kept, supports=kept.supports[chosen])

    def __getitem__(self, index: int) -> "Evidence":
        """Return that of one query of a batch."""
        shared = self.supports.embeddings.dim() == 3
        kept = self.kept
        if isinstance(kept, Addends):
            kept = replace(kept, query=kept.query[index], supports=kept.supports if shared else kept.supports[index])
        return replace(
            self,
            embedding=self.embedding[index],
            supports=self.supports if shared else self.supports[index],
            ranking=self.ranking[index],
            asked=None if self.asked is None else self.asked[index],
            kept=kept,
            kept_weights=None if self.kept_weights is None else self.kept_weights[index],
        )


NO_MAPS = "a correspondence needs the supports' activation maps, but only embeddings were kept."


def there(part: Part | Missing) -> Part:
    """Return a part. Raises: ``ValueError`` with the reason for one that is missing."""
    if isinstance(part, Missing):
        raise Mistake(part.why)
    return part


def evidence_of(question: Question) -> Evidence:
    """Return what a question's decision was made of."""
    supports = question.supports
    return Evidence(
        question.query.embedding,
        replace(supports, features=None),
        question.ranking,
        question.rule,
        question.similarity,
        question,
    )


def addends_of(question: Question, chosen: tuple[slice, slice] = EVERY) -> Addends:
    """Write the embeddings of the query and of the chosen supports as sums over cells.

    Raises: ``ValueError`` where the supports' maps were not kept.
    """
    expect_addends(question, "a correspondence")
    supports = _with_maps(question)[chosen]
    sizes = _size(question.query), _size(supports)
    return Addends(_addends(question.query, question), _addends(supports, question), *sizes)


def _with_maps(question: Question) -> Features:
    if question.supports.features is None:
        raise Mistake(NO_MAPS)
    return question.supports.features


def _addends(features: Features, question: Question) -> Float[Tensor, "*batch cells embedding"]:
    head, trace = linearize(question.head, features.pooled), features.trace
    shares = question.shares(features).flatten(start_dim=-2).transpose(-1, -2)
    cells, beside = head.push_forward(shares.to(features.pooled)), head.offset[..., None, :]
    for value in () if trace is None else trace.named.values():
        beside = beside + head.push_forward(value[..., None, :].to(features.pooled))
    return torch.cat([cells, beside], dim=-2)


def _size(features: Features) -> tuple[int, int]:
    return (features.maps.shape[-2], features.maps.shape[-1]) if features.trace is None else features.trace.grid


def written(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the evidence as plain values and tensors; what has no name says so where it is read."""
    kept = _kept(evidence)
    supports, similarity = evidence.supports, _similarity_facts(evidence.similarity)
    tensors = {
        "embedding": evidence.embedding,
        "supports": supports.embeddings,
        "valid": supports.valid,
        "ranking": evidence.ranking,
        "weights": evidence.weights,
    }
    if supports.unlabeled is not None:
        tensors["unlabeled"] = supports.unlabeled
    if isinstance(evidence.similarity, Mahalanobis):
        tensors["precision"] = evidence.similarity.precision
    facts = {"rule": _rule_facts(evidence.rule), "similarity": similarity, "classes": list(supports.classes)}
    if isinstance(kept, Missing):
        return {**facts, "addends": {"missing": kept.why}}, tensors
    tensors |= {"query_addends": kept.query, "support_addends": kept.supports}
    return {**facts, "addends": {"shape": list(kept.shape), "support_shape": list(kept.support_shape)}}, tensors


def read_back(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Evidence:
    """Return the evidence that ``written`` wrote."""
    kept, addends = facts["addends"], tensors.get("query_addends")
    return Evidence(
        tensors["embedding"],
        SupportSet(tensors["supports"], tensors["valid"], tuple(facts["classes"]), None, tensors.get("unlabeled")),
        tensors["ranking"],
        _rule(facts["rule"]),
        _similarity(facts["similarity"], tensors),
        None,
        Missing(kept["missing"]) if addends is None else Addends(addends, tensors["support_addends"], *_shapes(kept)),
        tensors["weights"],
    )


def unnamed(evidence: Evidence) -> dict[str, Any]:
    """Return the rule and the similarity that have no name but can be pickled, for a pickle or a copy."""
    without = {"rule": _rule_facts(evidence.rule), "similarity": _similarity_facts(evidence.similarity)}
    kept = {name: getattr(evidence, name) for name, facts in without.items() if "missing" in facts}
    return {name: part for name, part in kept.items() if _is_picklable(part)}


def _is_picklable(part: object) -> bool:
    try:
        pickle.dumps(part)
    except Exception:  # an object of a user's own may fail in any way
        return False
    return True


def _shapes(facts: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    (height, width), (support_height, support_width) = facts["shape"], facts["support_shape"]
    return (height, width), (support_height, support_width)


def _kept(evidence: Evidence) -> Addends | Missing:
    """Return the addends of all supports, each computed as if it alone were asked for, so that its last digit stays."""
    question = evidence.asked
    if question is None:
        return evidence.kept or Missing(NO_MAPS)
    try:
        expect_addends(question, "a correspondence")
        supports = _with_maps(question)
        if supports.embedding.dim() > 3:
            return addends_of(question)
        way, shot = supports.embedding.shape[:2]
        places = [(slice(i, i + 1), slice(j, j + 1)) for i in range(way) for j in range(shot)]
        joined = torch.cat([_addends(supports[place], question) for place in places], dim=1)
        every = joined.reshape(way, shot, *joined.shape[2:])
        return Addends(_addends(question.query, question), every, _size(question.query), _size(supports))
    except Mistake as error:
        return Missing(str(error))


def _rule_facts(rule: Rule | Missing) -> dict[str, Any]:
    if isinstance(rule, Missing):
        return {"missing": rule.why, "has_form": rule.has_form}
    for name, known in RULES.items():
        if known is rule:
            return {"name": name, "options": {}}
        if is_dataclass(rule) and type(known) is type(rule):
            return {"name": name, "options": {field.name: getattr(rule, field.name) for field in fields(rule)}}
    why = f"the decision's own rule {type(rule).__name__} has no name and was not saved; ask before saving."
    return {"missing": why, "has_form": has_own_form(rule)}


def _rule(facts: Mapping[str, Any]) -> Rule | Missing:
    if "missing" in facts:
        return Missing(facts["missing"], facts.get("has_form", False))
    known = RULES[facts["name"]]
    return replace(known, **facts["options"]) if facts["options"] else known  # type: ignore[type-var]


def _similarity_facts(similarity: Similarity | Missing) -> dict[str, Any]:
    if isinstance(similarity, Missing):
        return {"missing": similarity.why}
    if isinstance(similarity, Mahalanobis):
        return {"name": PRECISION}
    name = similarity_name(similarity)
    if name is not None:
        return {"name": name}
    why = f"the decision's own similarity {type(similarity).__name__} has no name and was not saved; ask before saving."
    return {"missing": why}


def _similarity(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Similarity | Missing:
    if "missing" in facts:
        return Missing(facts["missing"])
    return Mahalanobis(tensors["precision"]) if facts["name"] == PRECISION else SIMILARITIES[facts["name"]]
