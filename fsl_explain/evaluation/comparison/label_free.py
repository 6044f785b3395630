"""Explainers that need no supports, compared on annotated images as LaFAM's tables do: no decision is made.

Images are read, explained and judged batch by batch, so that memory does not grow with the data set.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.engine import Engine, Part, engine_for
from fsl_explain.evaluation.asked_for import AskedFor
from fsl_explain.evaluation.chosen_methods import expect_fitting
from fsl_explain.evaluation.comparison.compared_images import MapComparison, compared_methods, sampled_places
from fsl_explain.evaluation.figures import OF_MAPS, Figure, find_figures
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.image_store import ImageStore, embed_unique
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.masked_queries import check_measuring, checked_values
from fsl_explain.evaluation.results.saved_maps import about_images, maps_written
from fsl_explain.evaluation.run_identity import contents_hash, run_hash
from fsl_explain.explainers.asking import Decided, ask_about
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.relax import RelaxOptions
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import SIMILARITIES

NEEDS_OF_MAPS = ("saliency", "mask", "boxes", "iou_threshold", "images")


def compare_label_free(
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    methods: Sequence[str | Method] = ("relax",),
    figures: Sequence[str | Figure] = OF_MAPS,
    seed: int = 0,
    sample: int = 100,
    relax: RelaxOptions | None = None,
    iou_threshold: float = 0.2,
    batch_size: int = 16,
    partial: Path | None = None,
    maps: Path | None = None,
    engine: str | Engine = "local",
    report: Report = silent,
) -> MapComparison:
    """Measure every method's map of every image; those that ask the network again take the sample.

    Values as in ``compare_maps``. Figures that compare references or remove pixels need a decision.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for a value that does not fit or a method that needs
    supports.
    """
    expect_encoder(encoder, "encoder, data set")
    check_measuring("mean", iou_threshold, batch_size)
    options = RelaxOptions(seed=seed, batch_size=batch_size) if relax is None else relax
    chosen = compared_methods(methods, options)
    for name, method in chosen.items():
        if method.uses_supports:
            raise Mistake(f"without supports no class is decided, but {name!r} explains a decision; drop it.")
    expect_fitting(chosen, encoder)
    shown = find_figures(figures, NEEDS_OF_MAPS, "a comparison without supports")
    sampled = sampled_places(len(dataset), sample, seed)
    settings = {
        "methods": [*chosen, options, [one for one in methods if not isinstance(one, str)]],
        "figures": [identity(figure) for figure in shown],
        "sample": [sample, seed, iou_threshold, *(["maps"] if maps is not None else [])],
    }
    parts = list(_parts(chosen, sampled, batch_size, settings))
    run = "" if partial is None else run_hash(encoder, dataset, settings, contents=contents_hash(dataset))
    running = engine_for(engine, partial, run)
    make = functools.partial(_Work, encoder, dataset, chosen, shown, iou_threshold, batch_size, maps is not None)
    found = {one.name: torch.full((len(chosen), len(dataset)), torch.nan).double() for one in shown}
    rows = {name: row for row, name in enumerate(chosen)}
    waiting: dict[int, int] = {}
    for part in parts:
        waiting[part.made_of["batch"]] = waiting.get(part.made_of["batch"], 0) + 1
    report("comparing maps", 0, len(dataset))
    with maps_written(maps, functools.partial(about_images, dataset, torch.arange(len(dataset)), None)) as taken:
        for position, result in taken(running.map(make, parts), parts):
            made_of = parts[position].made_of
            for figure, values in result.items():
                found[figure][rows[made_of["method"]], made_of["images"]] = values.double()
            waiting[made_of["batch"]] -= 1
            if not waiting[made_of["batch"]]:
                report("comparing maps", len(made_of["images"]), len(dataset))
    labels = torch.from_numpy(dataset.labels)
    return MapComparison(tuple(chosen), torch.arange(len(dataset)), labels, labels, sampled, found, decided=False)


def _parts(
    methods: Mapping[str, Method], sampled: Bool[Tensor, "image"], batch_size: int, settings: Mapping[str, Any]
) -> Iterator[Part]:
    """Take batch after batch, each by all methods; images that are sampled come first."""
    batches = [one for which in (sampled, ~sampled) for one in which.nonzero()[:, 0].split(batch_size) if len(one)]
    for number, batch in enumerate(batches):
        for name, method in methods.items():
            if method.perturbs and not bool(sampled[batch].all()):
                continue
            made_of = {"method": name, "batch": number, "images": batch.tolist(), "settings": identity(settings)}
            yield Part(f"{name}-{number:05}-of-{batch_size}", made_of)


@dataclass(frozen=True)
class _Work:
    """Measures batches of images, each embedded when the first method asks for it."""

    encoder: Encoder
    dataset: LabeledImages
    methods: Mapping[str, Method]
    shown: tuple[Figure, ...]
    iou_threshold: float
    batch_size: int
    keeps_maps: bool = False
    embedded: dict[int, ImageStore] = field(default_factory=dict)  # the last batch alone

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Return the figures of one method's maps of a batch, and the maps where they are kept."""
        method, images = self.methods[part.made_of["method"]], torch.tensor(part.made_of["images"])
        store = self._store(part.made_of["batch"], images)
        rows = store.row_of[images]
        size = (store.pixels.shape[1], store.pixels.shape[2])
        cells = method.attribute(self._question(method, store, rows)).cells
        saliency = method.saliency(cells, size)
        together: dict[str, Tensor] = {}
        if {one.name for one in self.shown} >= set(OF_MAPS):
            together = vars(metrics.map_figures(saliency, store.masks[rows]))
        values = AskedFor(
            saliency=lambda: saliency,
            mask=lambda: store.masks[rows],
            boxes=lambda: store.boxes[rows],
            iou_threshold=lambda: self.iou_threshold,
            images=lambda: store.images(rows),
        )
        found = {one.name: together[one.name] if one.name in together else one.of(values) for one in self.shown}
        maps = kept_maps(part.made_of["method"], method, cells, images, size) if self.keeps_maps else {}
        return maps | {one.name: checked_values(one, found[one.name], len(rows)) for one in self.shown}

    def _store(self, number: int, images: Int[Tensor, "batch"]) -> ImageStore:
        if number not in self.embedded:
            self.embedded.clear()
            read = embed_unique(self.encoder, self.dataset, images.tolist(), self.batch_size, lambda _: None)
            self.embedded[number] = read
        return self.embedded[number]

    def _question(self, method: Method, store: ImageStore, rows: Int[Tensor, "batch"]) -> Question:
        """Ask about each image's similarity to itself, which no method here looks at."""
        features = store.features(rows)
        supports = SupportSet(
            features.embedding[:, None, None], torch.ones(len(rows), 1, 1, dtype=torch.bool), ("the image itself",)
        )
        rule, similarity = RULES["mean-similarity"], SIMILARITIES["cosine"]
        scores = rule.class_scores(features.embedding, supports, similarity)
        decided = Decided(rule, similarity, scores, scores, torch.zeros(len(rows), dtype=torch.long))
        pixels = Pixels(self.encoder, store.images(rows))
        return ask_about(method, self.encoder, features, supports, decided, pixels)
