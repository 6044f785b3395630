"""Some queries of a comparison: explained by one method, also under another class, and judged."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.classifiers import combined
from fsl_explain.encoder import Encoder
from fsl_explain.engine import Part
from fsl_explain.evaluation.asked_for import AskedFor
from fsl_explain.evaluation.comparison.decisions import ComparedDecisions
from fsl_explain.evaluation.comparison.removed_regions import RemovedRegions
from fsl_explain.evaluation.figures import OF_MAPS, Figure
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.masked_queries import checked_values
from fsl_explain.explainers.asking import Decided, Options, ask_about
from fsl_explain.explainers.explained_score import lead_over
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Pixels

CLASSES_OF_TWO_PAIRS = 4


@dataclass(frozen=True)
class Curves:
    """How a comparison removes pixels, and when a pixel counts."""

    steps: int
    removed: str
    iou_threshold: float


@dataclass(frozen=True)
class MapWork:
    """Measures the maps of batches of queries."""

    encoder: Encoder
    decisions: ComparedDecisions
    methods: Mapping[str, Method]
    figures: tuple[Figure, ...]
    sampled: Bool[Tensor, "query"]
    curves: Curves
    removed: RemovedRegions
    keeps_maps: bool = False

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Measure one method on the queries of a part."""
        places = torch.tensor(part.made_of["places"])
        return self._measure(part.made_of["method"], places)

    def _measure(self, name: str, places: Int[Tensor, "batch"]) -> dict[str, Tensor]:
        method = self.methods[name]
        store, scores = self.decisions.store, self.decisions.scores[places]
        rows = store.row_of[self.decisions.queries[places]]
        cells = self._cells(method, rows, scores, scores.argmax(dim=-1))
        saliency = method.saliency(cells, self._size)
        values = self._values(method, places, rows, saliency)
        wanted = [one for one in self.figures if bool(self.sampled[places].all()) or not one.on_a_sample]
        together: dict[str, Tensor] = {}
        if {one.name for one in wanted} >= set(OF_MAPS):
            together = vars(metrics.map_figures(saliency, store.masks[rows]))
        found = kept_maps(name, method, cells, places, self._size) if self.keeps_maps else {}
        for one in wanted:
            if "other_saliency" in one.needs and not self._has_other(method):
                found[one.name] = torch.full_like(scores[:, 0], torch.nan)
            else:
                value = together[one.name] if one.name in together else one.of(values)
                found[one.name] = checked_values(one, value, len(rows))
        return found

    def _values(
        self, method: Method, places: Tensor, rows: Tensor, saliency: Float[Tensor, "batch height width"]
    ) -> AskedFor:
        store = self.decisions.store
        return AskedFor(
            saliency=lambda: saliency,
            mask=lambda: store.masks[rows],
            boxes=lambda: store.boxes[rows],
            iou_threshold=lambda: self.curves.iou_threshold,
            images=lambda: store.images(rows),
            other_saliency=lambda: self._other_saliency(method, places, rows, saliency),
            lead=lambda: _Lead(self, self._weights_of_the_lead(places)),
            side=lambda: self._side(rows, saliency),
            steps=lambda: self.curves.steps,
            random_removals=lambda: self.removed.random(places, self._weights_of_the_lead(places)),
            single_removals=lambda: self.removed.single(places, self._weights_of_the_lead(places)),
            shapley_removals=lambda: self.removed.shapley(places, self._weights_of_the_lead(places)),
        )

    def _weights_of_the_lead(self, places: Int[Tensor, "batch"]) -> Float[Tensor, "batch way"]:
        """Freeze which two classes are compared: each query's predicted one and its runner-up."""
        scores = self.decisions.scores[places]
        return lead_over(scores, scores, scores.argmax(dim=-1), None, self.decisions.classes).class_weights

    def _has_other(self, method: Method) -> bool:
        """Tell whether maps under two references can be compared.

        Of a contrast the two pairs of class and rival share no class: with a shared one even unrelated maps of the
        classes would correlate. Below four classes there are no such pairs.
        """
        return not method.has_rivals or len(self.decisions.classes) >= CLASSES_OF_TWO_PAIRS

    def _other_saliency(
        self, method: Method, places: Tensor, rows: Tensor, saliency: Float[Tensor, "batch height width"]
    ) -> Float[Tensor, "batch height width"]:
        """Return the maps of another class than the predicted one."""
        if not method.uses_supports:
            return saliency
        scores = self.decisions.scores[places]
        rivals = scores.scatter(1, scores.topk(2).indices, -torch.inf)
        return method.saliency(self._cells(method, rows, scores, self.decisions.other[places], rivals), self._size)

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.decisions.store.pixels.shape[1], self.decisions.store.pixels.shape[2]

    def _cells(
        self,
        method: Method,
        rows: Int[Tensor, "batch"],
        scores: Float[Tensor, "batch way"],
        target: Int[Tensor, "batch"],
        rivals: Float[Tensor, "batch way"] | None = None,
    ) -> Float[Tensor, "batch h w"]:
        """Return the cells of each query's target; its best rival is the runner-up, or the largest of ``rivals``."""
        store, by = self.decisions.store, self.decisions.by
        question = ask_about(
            method,
            self.encoder,
            store.features(rows),
            self.decisions.support_set(len(rows)),
            Decided(by.rule, by.similarity, scores, scores, target),
            Pixels(self.encoder, store.images(rows)),
            Options(runner_up_by=rivals),
        )
        return method.attribute(question).cells

    def _side(self, rows: Int[Tensor, "batch"], saliency: Float[Tensor, "batch height width"]) -> metrics.Side:
        images = self.decisions.store.images(rows)
        removed = metrics.removed_pixels(images, self.curves.removed, black=self.encoder.black)
        return metrics.Side(images, saliency.to(images), removed)


@dataclass(frozen=True)
class _Lead:
    """The lead of each query's predicted class over its runner-up, for altered images."""

    work: MapWork
    weights: Float[Tensor, "batch way"]

    def __call__(self, altered: Float[Tensor, "batch color height width"]) -> Float[Tensor, "batch"]:
        embeddings = self.work.encoder(altered).embedding.cpu().double()
        return combined(self.weights, self.work.decisions.scores_of(embeddings))
