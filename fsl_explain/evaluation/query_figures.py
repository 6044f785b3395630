"""The figures of the table for a single query and one explanation of it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.classifiers.local.local_features import rule_for
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.explainers import Explanation
from fsl_explain.explainers.choice import Choice, find_rule, find_similarity
from fsl_explain.explainers.compared import Compared
from fsl_explain.explainers.seen_locally import seen_by

IOU_THRESHOLD = 0.2
OF_AN_ANNOTATION = ("proportion", "pointing_game", "intersection_over_union")


def figures_of(
    compared: Compared,
    explanation: Explanation,
    choice: Choice,
    box: Float[Tensor, "4"] | None = None,
    mask: Bool[Tensor, "height width"] | None = None,
) -> dict[str, float]:
    """Mask the one query of ``compared`` by its map and measure it; localization needs an annotation.

    Scores are those of the target class, removed pixels become the mean color, shares are in percent.
    """
    compared = seen_by(find_rule(choice.rule), compared)
    saliency = explanation.saliency[None]
    make = metrics.masks_from_signed_saliency if explanation.signed else metrics.masks_from_saliency
    masks = make(saliency).to(compared.queries)
    target = int(explanation.target)
    masked = compared.encoder(metrics.masked_images(compared.queries, masks)).embedding.double()
    before, after = (_score(compared, embedding, choice, target) for embedding in (compared.features.embedding, masked))
    figures = {
        "score": float(before),
        "score of the masked query": float(after),
        "drop %": float(metrics.drops(before[None], after[None])),
    }
    values = {"saliency": saliency, "iou_threshold": IOU_THRESHOLD}
    values |= {} if mask is None else {"mask": mask[None]}
    values |= {} if box is None else {"boxes": box[None]}
    known = [figure for figure in map(FIGURES.find, OF_AN_ANNOTATION) if set(figure.needs) <= set(values)]
    return figures | {figure.heading: figure.factor * float(figure.of(values)) for figure in known}


def _score(compared: Compared, embedding: Tensor, choice: Choice, target: int) -> Float[Tensor, ""]:
    similarity = find_similarity(choice.similarity, compared)
    scores = rule_for(find_rule(choice.rule), compared.features).class_scores(embedding, compared.supports, similarity)
    return torch.as_tensor(scores[0, target]).cpu()
