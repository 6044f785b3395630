"""What each scale has to do with a decision that is the mean over several: its part of the score, its own choice."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.classifiers import SupportSet, compared_with, pairwise_to_supports
from fsl_explain.explainers.evidence import Evidence, Missing
from fsl_explain.explainers.receipt import ScaleLine, disagreement
from fsl_explain.similarities import AtScales


@dataclass(frozen=True)
class ScaleShares:
    """Σ_s weight_s score_s plus the decision's constants is the score, on the CPU.

    A scale's score is Σ_k w_k S_ks with the weights w_k of the whole decision: Δ at that scale where these are the
    same at every scale, as in a mean, a prototype or a contrast of such; its part of Σ_k w_k S_k in a vote.
    """

    sides: tuple[int, ...]  # of the images in pixels
    weights: tuple[float, ...]
    scores: Float[Tensor, "*batch scale"]
    labels: Int[Tensor, "*batch scale"] | None  # what each scale alone decides; None where the rule is not known

    def lines(self, classes: tuple[str, ...]) -> tuple[ScaleLine, ...]:
        """Return those of one query as lines of its receipt."""
        labels = [None] * len(self.sides) if self.labels is None else self.labels.tolist()
        found = zip(self.sides, self.weights, self.scores.tolist(), labels, strict=True)
        return tuple(ScaleLine(side, a, score, "" if at is None else classes[at]) for side, a, score, at in found)


def scale_shares(evidence: Evidence) -> ScaleShares | None:
    """Return the share of each scale in a decision; None for one that is not at scales."""
    similarity, rule = evidence.similarity, evidence.rule
    if not isinstance(similarity, AtScales):
        return None
    supports = evidence.supports
    compared = supports if isinstance(rule, Missing) else compared_with(rule, supports, similarity)
    places = zip(
        similarity.similarities,
        similarity.parts(evidence.embedding),
        *(similarity.parts(one.embeddings) for one in (supports, compared)),
        strict=True,
    )
    scores, labels = [], []
    for one, query, own, beside in places:
        found = pairwise_to_supports(query, _of(supports, beside), one)
        scores.append((evidence.weights * found).sum(dim=(-2, -1)))
        if not isinstance(rule, Missing):
            labels.append(rule.decision_scores(query, _of(supports, own), one).argmax(dim=-1))
    stacked = torch.stack(labels, dim=-1).cpu() if labels else None
    return ScaleShares(similarity.sides, similarity.weights, torch.stack(scores, dim=-1).cpu(), stacked)


def _of(supports: SupportSet, embeddings: Float[Tensor, "*episodes way shot part"]) -> SupportSet:
    return SupportSet(embeddings, supports.valid, supports.classes)


def arrays_of(shares: ScaleShares | None) -> dict[str, Tensor | None]:
    """Return the numbers of scales by the names under which an explanation gives them; nothing where there are none."""
    return {} if shares is None else {"scale_scores": shares.scores, "scale_labels": shares.labels}


def scales_in_words(shares: ScaleShares | None, classes: tuple[str, ...]) -> str:
    """Return one sentence where the scales of one query decide differently; "" otherwise, and for a batch."""
    return "" if shares is None or shares.scores.dim() > 1 else disagreement(shares.lines(classes))
