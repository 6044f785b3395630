"""Decision rules by name, and which of them decide by the nearest neighbors."""

from dataclasses import fields, is_dataclass, replace

from episodes.errors import Mistake
from episodes.registry import Registry
from fsl_explain import registries
from fsl_explain.classifiers.decision import NeighborRule, Rule, Vote

__all__ = ["RULES", "has_option", "named_rule", "neighbor_rules", "votes"]

RULES: Registry[Rule] = registries.RULES
"""Every decision rule by the name that ``rule=`` and ``--rule`` take."""


def named_rule(name: str, k: int | None = None, temperature: float | None = None) -> Rule:
    """Return a rule by name, a vote with its number ``k`` of neighbors and its ``temperature`` where they are given.

    Both are as ``KnnVote`` says; whether there are k neighbors is seen when the rule decides.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for an option the rule does not have, or a temperature
    that is not above 0.
    """
    rule = RULES[name]
    given = {"k": k, "temperature": temperature}
    options = {option: value for option, value in given.items() if value is not None}
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
    """Say whether a rule has a setting that is called ``option``, such as ``k``."""
    return is_dataclass(rule) and option in {field.name for field in fields(rule)}
