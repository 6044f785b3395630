"""What a grid of maps is made of: how images are decided, and which of them are shown."""

from dataclasses import dataclass

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.classifiers import Rule, named_rule
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.similarities import SIMILARITIES

SUPPORTS = ("episode", "gallery")
DECISIONS = ("correct", "wrong")


@dataclass(frozen=True)
class GridDecision:
    """How an image is given a class: by the supports of an ``episode``, or by the k nearest of a ``gallery``."""

    supports: str = "episode"
    rule: str = "mean-similarity"
    similarity: str = "cosine"
    k: int = 200
    temperature: float = 0.07  # of knn-vote

    def __post_init__(self) -> None:
        if self.supports not in SUPPORTS:
            raise unknown_name("kind of supports", self.supports, SUPPORTS)
        if self.similarity not in SIMILARITIES:
            raise unknown_name("similarity", self.similarity, SIMILARITIES)
        if self.k < 1:
            raise Mistake(f"expected at least 1 neighbor, but got k = {self.k}; raise k.")
        _ = self.named

    @property
    def named(self) -> Rule:
        """The rule with its own options."""
        k = self.k if self.rule in ("knn-vote", "majority-vote") else None
        return named_rule(self.rule, k, self.temperature if self.rule == "knn-vote" else None)


@dataclass(frozen=True)
class Shown:
    """Which images are shown, by which maps: those that every model decides correctly, or wrongly."""

    decisions: str = "correct"
    method: str | Method = "fam"
    images: int = 6
    among: int = 200  # decisions that they are chosen from
    seed: int = 0  # order of the images of a gallery

    def __post_init__(self) -> None:
        if self.decisions not in DECISIONS:
            raise unknown_name("kind of decisions", self.decisions, DECISIONS)
        if self.images < 1 or self.among < 1:
            raise Mistake(f"expected at least 1 image among 1 decision, but got {self.images} among {self.among}.")
        find_method(self.method)
