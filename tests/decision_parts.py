"""The rules and similarities under test, which of them fit together, and what a method has to be told."""

import torch
from torch import Tensor

from fsl_explain.classifiers import RULES, CosineClassifier, Rule
from fsl_explain.similarities import SIMILARITIES, Mahalanobis, Similarity

# A few steps of gradient descent end in the span of the supports as well as a hundred do.
QUICK_RULES: dict[str, Rule] = RULES | {"cosine-classifier": CosineClassifier(steps=4)}
TAKEN_BY = {"logistic-regression": ("cosine", "inner-product"), "cosine-classifier": ("cosine",)}
PAIRS = [(rule, kind) for rule in RULES for kind in SIMILARITIES if kind in TAKEN_BY.get(rule, SIMILARITIES)]
REFUSED = [(rule, kind) for rule, taken in TAKEN_BY.items() for kind in (*SIMILARITIES, "mahalanobis")]
REFUSED = [(rule, kind) for rule, kind in REFUSED if kind not in TAKEN_BY[rule]]
OPTIONS = {"log-probability": {"scale": 7.0}, "verification": {"threshold": 0.25}}
ADD_UP = ("exact", "contrast", "log-probability", "verification")


def random_precision(channels: int, seed: int = 5) -> Tensor:
    """A symmetric positive definite matrix, no multiple of the identity and not diagonal."""
    root = torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T + 0.3 * torch.eye(channels, dtype=torch.float64)


def similarities_of(channels: int) -> dict[str, Similarity]:
    """The similarities by name, and a random Mahalanobis one of as many dimensions as the embeddings have."""
    return SIMILARITIES | {"mahalanobis": Mahalanobis(random_precision(channels))}
