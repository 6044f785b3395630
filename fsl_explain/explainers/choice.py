"""What a user chose to explain, turned into a question about a batch of queries."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.classifiers import RULES, Rule, SupportSet, named_rule, needs_unlabeled
from fsl_explain.classifiers.local.local_features import rule_for
from fsl_explain.explainers.asking import Decided, Options, ask_about
from fsl_explain.explainers.compared import Compared
from fsl_explain.explainers.contrast_weights import Against, ClassReference, class_index
from fsl_explain.explainers.explained_score import Quantity
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.explainers.seen_locally import seen_by
from fsl_explain.registries import TRANSDUCTIVE_RULES
from fsl_explain.scales import Scales, compared_at
from fsl_explain.similarities import SIMILARITIES, AtScales, Mahalanobis, Similarity


@dataclass(frozen=True)
class Choice:
    """How the decision was made, and which number of it is explained; see ``explain``."""

    rule: str | Rule = "mean-similarity"
    similarity: str | Similarity = "cosine"
    target: ClassReference | None = None
    against: Against = None
    scale: float = 1.0
    threshold: float | None = None

    def meant_for(self, explains: Quantity) -> "Choice":
        """Return the same choice without the options that belong to explaining another number."""
        against = self.against if explains == "contrast" else None
        threshold = self.threshold if explains == "verification" else None
        return replace(self, against=against, threshold=threshold)


def ask(compared: Compared, choice: Choice, explains: Quantity = "score") -> Question:
    """Turn a choice into a question.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for a target that nothing voted for.
    """
    named, similarity = find_rule(choice.rule), find_similarity(choice.similarity, compared)
    compared = seen_by(named, compared)
    query, supports = compared.features, compared.supports
    rule = rule_for(named, query)
    scores = rule.class_scores(query.embedding, supports, similarity)
    alike = rule.decision_scores == rule.class_scores  # the same function, as of most rules
    ranking = scores if alike else rule.decision_scores(query.embedding, supports, similarity)
    target = _targets(ranking, choice.target, supports.classes)
    _check_votes(scores, target, supports.classes)
    options = Options(choice.against, None, choice.scale, choice.threshold)
    pixels = Pixels(compared.encoder, compared.queries, compared.support_images)
    decided = Decided(rule, similarity, scores, ranking, target)
    return ask_about(explains, compared.encoder, query, supports, decided, pixels, options)


def find_rule(rule: str | Rule) -> Rule:
    """Return a decision rule by name, or the one given."""
    return named_rule(rule) if isinstance(rule, str) else RULES.find(rule)


def expect_transductive(rule: Rule) -> None:
    """Refuse unlabeled images for a rule that decides each query alone. Raises: ``ValueError``."""
    if not needs_unlabeled(rule):
        known = " or ".join(TRANSDUCTIVE_RULES)
        raise Mistake(
            f"unlabeled images are for rules that look at them together, {known}, but this one decides each query "
            "alone; drop unlabeled."
        )


def find_similarity(similarity: str | Similarity, compared: Compared) -> Similarity:
    """Return a similarity by name, or the one given, as a mean over scales where the encoder has some.

    ``mahalanobis`` is fitted on the supports, at each scale alone. Raises: as ``fsl_explain.scales.compared_at``.
    """
    if similarity == "mahalanobis":
        return fitted_on(compared.supports, compared.encoder.scales)
    if isinstance(similarity, str) and similarity not in SIMILARITIES:
        raise unknown_name("similarity", similarity, [*SIMILARITIES, "mahalanobis"])
    return compared_at(compared.encoder.scales, SIMILARITIES.find(similarity))


def fitted_on(supports: SupportSet, scales: Scales | None) -> Similarity:
    """Return Mahalanobis' distance of the supports' own spread, at each scale alone."""
    labels = torch.arange(len(supports.classes))[:, None].expand(supports.valid.shape)[supports.valid.cpu()]
    embeddings = supports.embeddings[supports.valid]
    if scales is None:
        return Mahalanobis.fit(embeddings, labels)
    parts = embeddings.chunk(len(scales.sides), dim=-1)
    return AtScales(tuple(Mahalanobis.fit(part, labels) for part in parts), scales.sides, scales.weights)


def _targets(
    ranking: Float[Tensor, "batch way"], target: ClassReference | None, classes: tuple[str, ...]
) -> Int[Tensor, "batch"]:
    if target is None:
        return ranking.argmax(dim=-1)
    return torch.full(ranking.shape[:-1], class_index(target, classes), device=ranking.device)


def _check_votes(scores: Float[Tensor, "batch way"], target: Int[Tensor, "batch"], classes: tuple[str, ...]) -> None:
    silent = scores.gather(-1, target[:, None]).squeeze(-1).isneginf()
    if silent.any():
        name = classes[int(target[silent][0])]
        raise Mistake(
            f"expected a target with at least one of the nearest neighbors, but {name} has none for "
            f"{int(silent.sum())} of the queries, so there is no vote to explain; raise k or choose another target."
        )
