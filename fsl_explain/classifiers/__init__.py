"""Decisions by similarity, by name."""

from dataclasses import fields, is_dataclass, replace

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.classifiers import mean_similarity, prototypes
from fsl_explain.classifiers.decision import (
    Decision,
    NeighborRule,
    Rule,
    SupportSet,
    Vote,
    Weights,
    combined,
    decide,
    is_linear_in_embeddings,
    padded_index,
    pairwise_to_supports,
    support_set,
)
from fsl_explain.classifiers.knn_vote import KnnVote, MajorityVote, NearestNeighbor
from fsl_explain.classifiers.linear import CosineClassifier, LogisticRegression

RULES: dict[str, Rule] = {
    "mean-similarity": mean_similarity,
    "prototype": prototypes,
    "nearest-neighbor": NearestNeighbor(),
    "knn-vote": KnnVote(),
    "majority-vote": MajorityVote(),
    "logistic-regression": LogisticRegression(),
    "cosine-classifier": CosineClassifier(),
}


def named_rule(name: str, k: int | None = None, temperature: float | None = None) -> Rule:
    """Return a rule by name, a vote with its number of neighbors and its temperature where they are given.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for an option the rule does not have.
    """
    if name not in RULES:
        raise unknown_name("rule", name, RULES)
    given = {"k": k, "temperature": temperature}
    options = {option: value for option, value in given.items() if value is not None}
    rule = RULES[name]
    if not options:
        return rule
    for option in options:
        if not has_option(rule, option):
            owners = " or ".join(owner for owner, other in RULES.items() if has_option(other, option))
            raise Mistake(f"{option} belongs to the rule {owners}, but the rule is {name}; drop it.")
    made: Rule = replace(rule, **options)  # type: ignore[type-var]
    return made


def neighbor_rules() -> list[str]:
    """Return the names of the rules by which the nearest neighbors alone decide."""
    return [name for name, rule in RULES.items() if isinstance(rule, NeighborRule)]


def votes() -> list[str]:
    """Return the names of the rules by which each of the nearest neighbors adds a vote to its class."""
    return [name for name, rule in RULES.items() if isinstance(rule, Vote)]


def has_option(rule: Rule, option: str) -> bool:
    """Say whether a rule has a setting of this name."""
    return is_dataclass(rule) and option in {field.name for field in fields(rule)}


__all__ = [
    "RULES",
    "CosineClassifier",
    "Decision",
    "KnnVote",
    "LogisticRegression",
    "MajorityVote",
    "NearestNeighbor",
    "NeighborRule",
    "Rule",
    "SupportSet",
    "Vote",
    "Weights",
    "combined",
    "decide",
    "has_option",
    "is_linear_in_embeddings",
    "named_rule",
    "neighbor_rules",
    "padded_index",
    "pairwise_to_supports",
    "support_set",
    "votes",
]
