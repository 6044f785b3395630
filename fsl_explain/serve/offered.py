"""The methods that the page offers for an encoder and a similarity, and what it says of each."""

from typing import Any

from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import METHODS, TRIVIAL
from fsl_explain.readouts.cells import NoPooling
from fsl_explain.report.wording import DESCRIPTIONS
from fsl_explain.similarities import Similarity, traits_of

USUAL = ("exact", "contrast")
DETAILS = (0, 1, 2, 3)


def offered_methods(encoder: Encoder, similarity: Similarity) -> list[str]:
    """Name the methods that can explain a decision by this similarity of this encoder, exact ones first."""
    return [name for name in METHODS if name not in TRIVIAL and _fits(METHODS[name], encoder, similarity)]


def offered_details(encoder: Encoder) -> list[int]:
    """Return how often the grid may be doubled; only 0 where cells are tokens or the network goes on behind them."""
    return [0] if encoder.tokens is not None or encoder.reading.tail.is_network else list(DETAILS)


def described(name: str) -> dict[str, Any]:
    """Say what a method is: whether it has a sign, adds up and is slow, and a sentence."""
    method = METHODS[name]
    words = DESCRIPTIONS.get(name, "").format(target="the match", rivals="its rival")
    return {
        "name": name,
        "signed": method.signed,
        "adds_up": name in USUAL,
        "slow": method.perturbs,
        "finer": method.draws_finer,
        "contrast": method.has_rivals,
        "words": words,
    }


def _fits(method: Method, encoder: Encoder, similarity: Similarity) -> bool:
    if not (method.needs_no_option and method.takes(similarity)):
        return False
    if not callable(getattr(similarity, "form", None)) and traits_of(similarity).sums_over_channels is False:
        return False
    if method.needs_tokens:
        return encoder.tokens is not None
    return not method.is_of_pooled_maps or not isinstance(encoder.pooling, NoPooling)
