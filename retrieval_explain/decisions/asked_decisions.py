"""What is asked of a decision over a bank: whether its query, rule, k and temperature go together."""

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import Rule, Vote
from fsl_explain.encoder import expect_encoder
from retrieval_explain.memory_bank import MemoryBank

ORDER = "encoder, query, bank"


def expect_order(encoder: object, bank: object) -> None:
    """Refuse arguments in another order. Raises: ``TypeError``."""
    expect_encoder(encoder, ORDER)
    if not isinstance(bank, MemoryBank):
        raise WrongType(f"expected a MemoryBank third, but got {type(bank).__name__}; the order is {ORDER}.")


def expect_text_alone(query: object, rule: str | Rule, k: int | None, temperature: float | None) -> None:
    """Refuse what belongs to a query image beside a text. Raises: ``ValueError``."""
    if query is not None:
        raise Mistake("expected a query image or a text, but got both; give one of the two.")
    if rule != "knn-vote" or k is not None or temperature is not None:
        raise Mistake(
            "expected no rule, k or temperature beside a text, which explains one image that it returns; drop them."
        )


def as_it_is(rule: Rule, temperature: float | None) -> Rule:
    """Return a rule that is an object. Raises: ``ValueError`` for a temperature beside it, which is not its own."""
    if isinstance(rule, type):
        raise WrongType(f"expected a rule by name or as an object, but got a class; write {rule.__name__}(…).")
    if temperature is not None and temperature != getattr(rule, "temperature", None):
        raise Mistake(
            f"temperature={temperature:g} is of a rule by name, but the rule is {rule!r:.100}; "
            "set the temperature there, or name the rule."
        )
    return rule


def expect_same(rule: Rule, k: int) -> None:
    """Refuse a vote that says itself how many vote, and says another number. Raises: ``ValueError``."""
    if isinstance(rule, Vote) and rule.k not in (None, k):
        raise Mistake(f"{k} neighbors are to vote, but the rule is {rule!r:.100}; give one of the two numbers.")
