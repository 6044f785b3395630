"""Explainers compared on annotated images: LaFAM's six figures, and what tells maps apart on single objects.

Every class has a few support images; every other image is decided, explained by each method and judged. Explainers
that ask the network again, such as RELAX, and the curves of insertion and deletion take a sample of the images.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.classifiers import RULES, SupportSet, combined
from fsl_explain.config.comparison import ComparisonConfig, MapsConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.explainers.explained_score import lead_over, score_of
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.lafam import LAFAM_OF_THE_TABLES
from fsl_explain.explainers.methods.named import TRIVIAL, find_method
from fsl_explain.explainers.methods.relax import RelaxOptions, relax_method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import SIMILARITIES

LOCALIZATION = tuple(field.name for field in fields(metrics.MapFigures))
DISCRIMINATION = ("reference_correlation", "insertion", "deletion")
FIGURES = (*DISCRIMINATION, *LOCALIZATION)
CLASSES_OF_TWO_PAIRS = 4


@dataclass(frozen=True)
class MapComparison:
    """What was measured: one row for each method, one column for each query; NaN where nothing was."""

    methods: tuple[str, ...]
    queries: Int[Tensor, "query"]  # data set indices
    truth: Int[Tensor, "query"]
    predicted: Int[Tensor, "query"]
    sampled: Bool[Tensor, "query"]
    figures: dict[str, Float[Tensor, "method query"]]


def compared_methods(config: MapsConfig, batch_size: int = 32) -> dict[str, Method]:
    """Return the explainers asked for, then lafam and the trivial maps, by name.

    Raises: ``LookupError`` for an unknown method; ``ValueError`` for one that explains neither a score nor a lead.
    """
    asked = (*config.methods, "lafam", *TRIVIAL)
    methods = {name: CLASS_LOGIT if name == CLASS_LOGIT.name else find_method(name) for name in asked}
    for name, method in methods.items():
        if method.explains not in ("score", "contrast"):
            raise Mistake(f"a comparison asks for a class's score or its lead, but {name!r} explains another; drop it.")
    options = RelaxOptions(
        masks=config.relax_masks, seed=config.seed, variant=config.relax_variant, batch_size=batch_size
    )
    replaced = {
        "lafam": LAFAM_OF_THE_TABLES,
        "relax": relax_method(options),
        "u-relax": relax_method(options, certain=True),
    }
    return {name: replaced.get(name, method) for name, method in methods.items()}


def compare_maps(
    encoder: Encoder,
    dataset: LabeledImages,
    config: ComparisonConfig,
    partial: Path | None = None,
    report: Report = silent,
) -> MapComparison:
    """Decide every query and measure every method's map of it.

    With ``partial``, finished batches are kept in that folder and are not measured again.

    Raises: ``ValueError`` for a class without an image beside its supports, or fewer than two classes.
    """
    methods = compared_methods(config.maps, config.run.batch_size)
    supports = draw_supports(dataset, config.maps)
    report("embedding images", 0, len(dataset))
    every = range(len(dataset))
    store = embed_unique(
        encoder, dataset, every, config.run.batch_size, lambda done: report("embedding images", done, len(dataset))
    )
    run = _Run(encoder, store, config, dataset.classes, supports, _queries(dataset, supports))
    return run.measure(methods, torch.from_numpy(dataset.labels), partial, report)


def draw_supports(dataset: LabeledImages, config: MapsConfig) -> Int[Tensor, "way shot"]:
    """Return the data set indices of each class's supports, drawn without replacement.

    Raises: ``ValueError`` for a class that has too few images, or fewer than two classes.
    """
    if len(dataset.classes) < 2:
        raise Mistake(f"a comparison needs decisions between classes, but {dataset.name} has one; add another.")
    rng, drawn = np.random.default_rng(config.seed), []
    for label, name in enumerate(dataset.classes):
        images = np.flatnonzero(dataset.labels == label)
        if len(images) <= config.shots:
            raise Mistake(
                f"every class needs {config.shots + 1} images (supports and one to judge), but class {name} has "
                f"{len(images)}; lower maps.shots, or drop the class."
            )
        drawn.append(np.sort(rng.choice(images, config.shots, replace=False)))
    return torch.from_numpy(np.stack(drawn))


def sampled_places(images: int, config: MapsConfig) -> Bool[Tensor, "image"]:
    """Mark the sample for explainers that ask the network again and for the curves."""
    chosen = np.random.default_rng(config.seed).choice(images, min(config.sample, images), replace=False)
    sampled = torch.zeros(images, dtype=torch.bool)
    sampled[torch.from_numpy(chosen)] = True
    return sampled


def _queries(dataset: LabeledImages, supports: Int[Tensor, "way shot"]) -> Int[Tensor, "query"]:
    is_query = torch.ones(len(dataset), dtype=torch.bool)
    is_query[supports.flatten()] = False
    return is_query.nonzero().squeeze(1)


@dataclass(frozen=True)
class _Run:
    encoder: Encoder
    store: ImageStore
    config: ComparisonConfig
    classes: tuple[str, ...]
    supports: Int[Tensor, "way shot"]
    queries: Int[Tensor, "query"]

    def measure(
        self, methods: dict[str, Method], labels: Int[Tensor, "image"], partial: Path | None, report: Report
    ) -> MapComparison:
        """Measure all methods on all queries."""
        sampled = sampled_places(len(self.queries), self.config.maps)
        scores = self._scores(self.store.embeddings[self.store.row_of[self.queries]].double())
        figures = {name: torch.full((len(methods), len(self.queries)), torch.nan).double() for name in FIGURES}
        works = [self._work(method, sampled) for method in methods.values()]
        total = sum(len(part) for work in works for part in work)
        report("comparing maps", 0, total)
        for row, (name, method) in enumerate(methods.items()):
            for number, part in enumerate(works[row]):
                path = part_path(partial, name, number, self.config.run.batch_size)
                found = kept(path, functools.partial(self._measure, method, part, scores[part], sampled[part]))
                for figure, values in found.items():
                    figures[figure][row, part] = values.double()
                report("comparing maps", len(part), total)
        predicted = scores.argmax(dim=-1)
        return MapComparison(tuple(methods), self.queries, labels[self.queries], predicted, sampled, figures)

    def _work(self, method: Method, sampled: Bool[Tensor, "query"]) -> tuple[Int[Tensor, "batch"], ...]:
        """Return batches of positions that are sampled, and of positions that are not; curves need the former."""
        chosen, rest = sampled.nonzero().squeeze(1), (~sampled).nonzero().squeeze(1)
        size = self.config.run.batch_size
        return (*chosen.split(size), *(() if method.perturbs or not len(rest) else rest.split(size)))

    def _measure(
        self,
        method: Method,
        part: Int[Tensor, "batch"],
        scores: Float[Tensor, "batch way"],
        sampled: Bool[Tensor, "batch"],
    ) -> dict[str, Float[Tensor, "batch"]]:
        rows = self.store.row_of[self.queries[part]]
        target, other = scores.argmax(dim=-1), self._other(part, scores)
        saliency = self._saliency(method, rows, scores, target)
        found = vars(metrics.map_figures(saliency, self.store.masks[rows]))
        found["reference_correlation"] = self._correlation(method, rows, scores, saliency, other)
        return found | (self._curves(rows, saliency, scores) if bool(sampled.all()) else {})

    def _correlation(
        self,
        method: Method,
        rows: Int[Tensor, "batch"],
        scores: Float[Tensor, "batch way"],
        saliency: Float[Tensor, "batch height width"],
        other: Int[Tensor, "batch"],
    ) -> Float[Tensor, "batch"]:
        """Return how alike the maps of the predicted and of another class are.

        Of a contrast the two pairs of class and rival share no class: with a shared one even unrelated maps of the
        classes would correlate. Below four classes there are no such pairs, so it is NaN.
        """
        if method.explains == "contrast" and scores.shape[1] < CLASSES_OF_TWO_PAIRS:
            return torch.full_like(scores[:, 0], torch.nan)
        if not method.uses_supports:
            return metrics.map_correlation(saliency, saliency)
        first_pair = scores.topk(2).indices
        rivals = scores.scatter(1, first_pair, -torch.inf)
        return metrics.map_correlation(saliency, self._saliency(method, rows, scores, other, rivals))

    def _saliency(
        self,
        method: Method,
        rows: Int[Tensor, "batch"],
        scores: Float[Tensor, "batch way"],
        target: Int[Tensor, "batch"],
        rivals: Float[Tensor, "batch way"] | None = None,
    ) -> Float[Tensor, "batch height width"]:
        """Return the maps of each query's target; its best rival is the runner-up, or the largest of ``rivals``."""
        settings, supports = self.config.maps, self._support_set(len(rows))
        explained = score_of(scores, target)
        if method.explains == "contrast":
            explained = lead_over(scores, scores if rivals is None else rivals, target, None, self.classes)
        question = Question(
            query=self.store.features(rows),
            supports=supports,
            explained=explained,
            ranking=scores,
            target=target,
            rule=RULES[settings.rule],
            similarity=SIMILARITIES[settings.similarity],
            pooling=self.encoder.pooling,
            head=self.encoder.head,
            pixels=Pixels(self.encoder, self.store.images(rows)),
        )
        size = (self.store.pixels.shape[1], self.store.pixels.shape[2])
        return method.saliency(method.attribute(question).cells, size)

    def _other(self, part: Int[Tensor, "batch"], scores: Float[Tensor, "batch way"]) -> Int[Tensor, "batch"]:
        """Return a class for each query that is neither the predicted one nor, where there are three, its rival."""
        way = scores.shape[1]
        order = scores.argsort(dim=-1, descending=True, stable=True)
        skipped = 1 if way == 2 else 2
        drawn = np.random.default_rng(self.config.maps.seed).integers(skipped, way, len(self.queries))
        return order.gather(1, torch.from_numpy(drawn)[part][:, None]).squeeze(1)

    def _curves(
        self, rows: Int[Tensor, "batch"], saliency: Float[Tensor, "batch height width"], scores: Tensor
    ) -> dict[str, Float[Tensor, "batch"]]:
        """Return the mean lead over the runner-up while the map's pixels are put back, and while they are removed."""
        images, settings = self.store.images(rows), self.config.maps
        weights = lead_over(scores, scores, scores.argmax(dim=-1), None, self.classes).class_weights

        def lead(altered: Tensor) -> Tensor:
            return combined(weights, self._scores(self.encoder(altered).embedding.cpu().double()))

        removed = metrics.removed_pixels(images, settings.removed, black=self.encoder.black)
        side = metrics.Side(images, saliency.to(images), removed)
        return {
            "insertion": metrics.insertion(lead, side, steps=settings.steps).area,
            "deletion": metrics.deletion(lead, side, steps=settings.steps).area,
        }

    def _scores(self, embeddings: Float[Tensor, "query embedding"]) -> Float[Tensor, "query way"]:
        settings = self.config.maps
        return RULES[settings.rule].class_scores(
            embeddings, self._support_set(len(embeddings)), SIMILARITIES[settings.similarity]
        )

    def _support_set(self, queries: int) -> SupportSet:
        embeddings = self.store.embeddings[self.store.row_of[self.supports]].double()
        valid = torch.ones(self.supports.shape, dtype=torch.bool)
        shape = (queries, *embeddings.shape)
        return SupportSet(embeddings.expand(shape), valid.expand(shape[:-1]), self.classes)


def part_path(partial: Path | None, method: str, number: int, batch_size: int) -> Path | None:
    """Name the file of a batch: which images it holds depends on the size of a batch."""
    return None if partial is None else partial / f"{method}-{number:05}-of-{batch_size}.safetensors"


def kept(path: Path | None, measure: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what a batch measured before this run was interrupted, or else measure it and keep it."""
    if path is not None and path.exists():
        return load_file(path)
    found = {name: values.contiguous() for name, values in measure().items()}
    if path is not None:
        unfinished = path.with_suffix(".unfinished")
        save_file(found, unfinished)
        unfinished.replace(path)
    return found
