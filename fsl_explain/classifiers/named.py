"""Decision rules by name."""

from dataclasses import fields, is_dataclass, replace

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import Rule
from fsl_explain.registries import RULES

__all__ = ["RULES", "named_rule"]


def named_rule(name: str, k: int | None = None, temperature: float | None = None) -> Rule:
    """Return a rule by name, a vote with its number of neighbors and its temperature where they are given.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for an option the rule does not have.
    """
    rule = RULES[name]
    given = {"k": k, "temperature": temperature}
    options = {option: value for option, value in given.items() if value is not None}
    if not options:
        return rule
    known: set[str] = {field.name for field in fields(rule)} if is_dataclass(rule) else set()
    for option in options:
        if option not in known:
            owners = "knn-vote" if option == "temperature" else "knn-vote or majority-vote"
            raise Mistake(f"{option} belongs to the rule {owners}, but the rule is {name}; drop it.")
    made: Rule = replace(rule, **options)  # type: ignore[type-var]
    return made
