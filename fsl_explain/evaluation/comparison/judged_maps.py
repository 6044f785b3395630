"""Some queries of a comparison: explained by one method, also under another class, and judged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.classifiers import SupportSet, combined
from fsl_explain.encoder import Encoder
from fsl_explain.engine import Part
from fsl_explain.evaluation.asked_for import AskedFor
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import OF_MAPS, Figure
from fsl_explain.evaluation.image_store import ImageStore
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
class ComparedDecisions:
    """The queries of a comparison, decided by the supports that all of them share."""

    store: ImageStore
    by: DecidedBy
    classes: tuple[str, ...]
    supports: Int[Tensor, "way shot"]  # data set indices
    queries: Int[Tensor, "query"]
    scores: Float[Tensor, "query way"]
    other: Int[Tensor, "query"]  # a class that is neither the predicted one nor, where there are three, its rival

    @classmethod
    def of(
        cls,
        store: ImageStore,
        by: DecidedBy,
        classes: tuple[str, ...],
        supports: Int[Tensor, "way shot"],
        queries: Int[Tensor, "query"],
        seed: int,
    ) -> "ComparedDecisions":
        """Decide all queries; ``seed`` draws the other classes."""
        undecided = torch.empty(len(queries), len(classes), dtype=torch.float64)
        run = cls(store, by, classes, supports, queries, undecided, queries)
        scores = run.scores_of(store.embeddings[store.row_of[queries]].double())
        return cls(store, by, classes, supports, queries, scores, _others(scores, seed))

    @property
    def predicted(self) -> Int[Tensor, "query"]:
        """The class of the largest score."""
        return self.scores.argmax(dim=-1)

    def scores_of(self, embeddings: Float[Tensor, "some embedding"]) -> Float[Tensor, "some way"]:
        """Return the score of every class for given embeddings."""
        return self.by.rule.class_scores(embeddings, self.support_set(len(embeddings)), self.by.similarity)

    def support_set(self, queries: int) -> SupportSet:
        """Return the supports for a number of queries."""
        embeddings = self.store.embeddings[self.store.row_of[self.supports]].double()
        valid = torch.ones(self.supports.shape, dtype=torch.bool)
        shape = (queries, *embeddings.shape)
        return SupportSet(embeddings.expand(shape), valid.expand(shape[:-1]), self.classes)


@dataclass(frozen=True)
class MapWork:
    """Measures the maps of batches of queries."""

    encoder: Encoder
    decisions: ComparedDecisions
    methods: Mapping[str, Method]
    figures: tuple[Figure, ...]
    sampled: Bool[Tensor, "query"]
    curves: Curves
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
            lead=lambda: _Lead.over_the_runner_up(self, places),
            side=lambda: self._side(rows, saliency),
            steps=lambda: self.curves.steps,
        )

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

    @classmethod
    def over_the_runner_up(cls, work: MapWork, places: Int[Tensor, "batch"]) -> "_Lead":
        """Freeze which two classes are compared."""
        scores = work.decisions.scores[places]
        explained = lead_over(scores, scores, scores.argmax(dim=-1), None, work.decisions.classes)
        return cls(work, explained.class_weights)

    def __call__(self, altered: Float[Tensor, "batch color height width"]) -> Float[Tensor, "batch"]:
        embeddings = self.work.encoder(altered).embedding.cpu().double()
        return combined(self.weights, self.work.decisions.scores_of(embeddings))


def _others(scores: Float[Tensor, "query way"], seed: int) -> Int[Tensor, "query"]:
    way = scores.shape[1]
    order = scores.argsort(dim=-1, descending=True, stable=True)
    skipped = 1 if way == 2 else 2
    drawn = np.random.default_rng(seed).integers(skipped, way, len(scores))
    return order.gather(1, torch.from_numpy(drawn)[:, None]).squeeze(1)
