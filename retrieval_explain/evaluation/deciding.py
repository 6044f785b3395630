"""By which rules, with how many neighbors and by which similarity the queries of an evaluation are decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from episodes.errors import Mistake
from fsl_explain.classifiers import RULES, NeighborRule, Vote, has_option, named_rule, neighbor_rules
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.similarities import Similarity, named_similarity, similarity_name
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.ranking.retrieval_scores import Searched


@dataclass(frozen=True)
class Deciding:
    """How a query is given a class by its neighbors, by one rule or by several."""

    rules: Mapping[str, NeighborRule]
    k: int
    temperature: float
    similarity: str | Similarity

    @classmethod
    def of(
        cls, rules: Sequence[str | NeighborRule], k: int, temperature: float, similarity: str | Similarity
    ) -> "Deciding":
        """Find what was given by name or as an object; a rule by name has the temperature that was given.

        Raises: ``LookupError`` for an unknown rule or similarity; ``ValueError`` for a value that does not fit.
        """
        if isinstance(rules, str):
            raise Mistake(f"expected a list of rules, but got {rules!r}; write [{rules!r}].")
        if not rules or not 1 <= k <= DEFAULT_K or not temperature > 0:
            raise Mistake(
                f"expected at least one rule, 1 to {DEFAULT_K} neighbors and a temperature above 0, but got "
                f"{len(rules)} rules, k = {k} and {temperature:g}."
            )
        found = {_rule_name(rule): _rule(rule, temperature) for rule in rules}
        named_similarity(similarity)
        return cls(found, k, temperature, similarity_name(similarity) or similarity)


def _rule_name(rule: str | NeighborRule) -> str:
    return RULES.name_of(rule) or repr(rule)


def _rule(rule: str | NeighborRule, temperature: float) -> NeighborRule:
    found = RULES.find(rule)
    if isinstance(rule, str) and has_option(found, "temperature"):
        found = named_rule(rule, None, temperature)
    if not isinstance(found, NeighborRule):
        raise Mistake(f"expected a decision over neighbors, {', '.join(neighbor_rules())}, but got {_rule_name(rule)}.")
    return found


def looked_at(rule: NeighborRule, searched: Searched, neighbors: Neighbors) -> Neighbors:
    """Return the neighbors of a vote that says how many they are, otherwise those that all rules share."""
    own = rule.k if isinstance(rule, Vote) else None
    if own is not None and not 1 <= own <= DEFAULT_K:
        raise Mistake(f"expected a vote of 1 to {DEFAULT_K} neighbors, but got one of {own}.")
    return neighbors if own is None else searched.neighbors(own)
