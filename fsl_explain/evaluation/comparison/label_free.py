"""Explainers that need no supports, compared on annotated images as LaFAM's tables do: no decision is made.

Images are read, explained and judged batch by batch, so that memory does not grow with the data set.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.config.comparison import ComparisonConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.comparison.with_supports import (
    LOCALIZATION,
    MapComparison,
    compared_methods,
    kept,
    part_path,
    sampled_places,
)
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.explainers.explained_score import score_of
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import SIMILARITIES


def compare_label_free(
    encoder: Encoder,
    dataset: LabeledImages,
    config: ComparisonConfig,
    partial: Path | None = None,
    report: Report = silent,
) -> MapComparison:
    """Measure every method's map of every image; those that ask the network again take the sample.

    With ``partial``, finished batches are kept in that folder and are not measured again.

    Raises: ``ValueError`` for a method that needs supports.
    """
    methods = compared_methods(config.maps, config.run.batch_size)
    for name, method in methods.items():
        if method.uses_supports:
            raise Mistake(f"without supports no class is decided, but {name!r} explains a decision; drop it.")
    sampled = sampled_places(len(dataset), config.maps)
    figures = {name: torch.full((len(methods), len(dataset)), torch.nan).double() for name in LOCALIZATION}
    batches = _batches(sampled, config.run.batch_size)
    report("comparing maps", 0, len(dataset))
    for number, batch in enumerate(batches):
        measured = _Batch(encoder, dataset, batch, config)
        for row, (name, method) in enumerate(methods.items()):
            if method.perturbs and not bool(sampled[batch].all()):
                continue
            path = part_path(partial, name, number, config.run.batch_size)
            for figure, values in kept(path, functools.partial(measured.figures, method)).items():
                figures[figure][row, batch] = values.double()
        report("comparing maps", len(batch), len(dataset))
    labels = torch.from_numpy(dataset.labels)
    return MapComparison(tuple(methods), torch.arange(len(dataset)), labels, labels, sampled, figures)


def _batches(sampled: Bool[Tensor, "image"], size: int) -> tuple[Int[Tensor, "_batch"], ...]:
    """Return batches of images that are sampled, then of images that are not."""
    return tuple(part for which in (sampled, ~sampled) for part in which.nonzero()[:, 0].split(size) if len(part))


@dataclass(frozen=True)
class _Batch:
    """Some images, embedded when the first method asks for them."""

    encoder: Encoder
    dataset: LabeledImages
    images: Int[Tensor, "batch"]
    config: ComparisonConfig

    @functools.cached_property
    def store(self) -> ImageStore:
        return embed_unique(
            self.encoder, self.dataset, self.images.tolist(), self.config.run.batch_size, lambda _: None
        )

    def figures(self, method: Method) -> dict[str, Float[Tensor, "batch"]]:
        """Return LaFAM's six figures of one method's maps."""
        rows = self.store.row_of[self.images]
        question = self._question(rows)
        size = (self.store.pixels.shape[1], self.store.pixels.shape[2])
        saliency = method.saliency(method.attribute(question).cells, size)
        return vars(metrics.map_figures(saliency, self.store.masks[rows]))

    def _question(self, rows: Int[Tensor, "batch"]) -> Question:
        """Ask about each image's similarity to itself, which no method here looks at."""
        features = self.store.features(rows)
        supports = SupportSet(
            features.embedding[:, None, None], torch.ones(len(rows), 1, 1, dtype=torch.bool), ("the image itself",)
        )
        rule, similarity = RULES["mean-similarity"], SIMILARITIES["cosine"]
        scores = rule.class_scores(features.embedding, supports, similarity)
        target = torch.zeros(len(rows), dtype=torch.long)
        return Question(
            query=features,
            supports=supports,
            explained=score_of(scores, target),
            ranking=scores,
            target=target,
            rule=rule,
            similarity=similarity,
            pooling=self.encoder.pooling,
            head=self.encoder.head,
            pixels=Pixels(self.encoder, self.store.images(rows)),
        )
