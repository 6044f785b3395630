"""A benchmark with a known right answer: four tiles of four classes, and a reference of one of them.

A map that explains the similarity of the mosaic to the reference lies in the tile of the reference's class; chance
is 25 %. A head only changes what follows the pooled features, so that nothing is embedded twice.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.config import MosaicsConfig
from fsl_explain.encoder import Features
from fsl_explain.evaluation.episodes import BASELINES
from fsl_explain.evaluation.mosaics.fitted_heads import find_head
from fsl_explain.evaluation.mosaics.mosaic_images import TILES
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore
from fsl_explain.explainers.explained_score import lead_over, score_of
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.named import METHODS, find_method
from fsl_explain.explainers.question import Question
from fsl_explain.heads import Pooling
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import SIMILARITIES

MOSAICS_IN_A_BATCH = 50
TILE_NAMES = ("upper left", "upper right", "lower left", "lower right")
RULE = RULES["mean-similarity"]  # of one reference a class: its similarity itself


@dataclass(frozen=True)
class MethodFigures:
    """One method's figures under one head, one value a mosaic; NaN where a map says nothing."""

    hit: Float[Tensor, "mosaic"]  # share of the map's maxima that lie in the right tile
    energy: Float[Tensor, "mosaic"]  # share of the map's positive mass in the right tile
    correlation: Float[Tensor, "mosaic"]  # of the maps of two references of different classes
    residual: Float[Tensor, "mosaic"]  # of the receipt, over its absolute terms; NaN where no sum is claimed


@dataclass(frozen=True)
class HeadFigures:
    """The figures of every method under one head, and of the model itself, shown each tile alone."""

    dimensions: int
    methods: dict[str, MethodFigures]
    one_reference: Float[Tensor, "mosaic"]  # 1 where the right tile alone is the most similar to the reference
    contrast: Float[Tensor, "mosaic"]  # 1 where its lead over the other classes' references is the largest


def measured_methods(config: MosaicsConfig) -> tuple[str, ...]:
    """Return the baselines every table carries, then the methods asked for.

    Raises: ``LookupError`` for an unknown method or head, with the nearest names; ``ValueError`` for a method that
    explains neither a score nor a contrast.
    """
    for name in config.mosaics.heads:
        find_head(name)
    for name in config.mosaics.methods:
        if find_method(name).explains not in ("score", "contrast"):
            raise Mistake(
                f"mosaics ask for a class's score or its lead, but {name!r} explains another number; drop it."
            )
        if find_method(name).perturbs:
            raise Mistake(
                f"mosaics keep activation maps and no pixels, but {name!r} changes the image and asks the network "
                "again; drop it, or use fsl-explain compare."
            )
    return tuple(dict.fromkeys((*reversed(BASELINES), *config.mosaics.methods)))


def evaluate_mosaics(
    store: MosaicStore, pooling: Pooling, config: MosaicsConfig, report: Report = silent
) -> dict[str, HeadFigures]:
    """Explain every mosaic by every method under every head; the figures by name of head.

    Raises: as ``measured_methods``.
    """
    methods = measured_methods(config)
    label_free: dict[str, MethodFigures] = {}
    figures = {}
    total = len(methods) * len(config.mosaics.heads)
    report("explaining mosaics", 0, total)
    for name in config.mosaics.heads:
        head = fitted_head(name, store, config).to(store.maps.dtype)
        run = _Run(store, head, deepcopy(head).double(), pooling, config.mosaics.similarity, label_free)
        figures[name] = run.measure(methods, lambda: report("explaining mosaics", 1, total))
    return figures


def fitted_head(name: str, store: MosaicStore, config: MosaicsConfig) -> nn.Module:
    """Fit a head on the crops that appear in no mosaic."""
    pooled = store.crops[store.fitting].double()
    return find_head(name)(pooled, store.labels[store.fitting], config.mosaics.seed)


@dataclass(frozen=True)
class _Run:
    """One head on the store's features."""

    store: MosaicStore
    head: nn.Module  # in the network's dtype
    precise: nn.Module  # the same weights in float64: embeddings are in it, whatever the network's dtype
    pooling: Pooling
    similarity: str
    label_free: dict[str, MethodFigures]  # figures of methods that no reference and no head changes

    def measure(self, methods: tuple[str, ...], advance: Callable[[], None]) -> HeadFigures:
        """Explain all mosaics by all methods, twice: for the target's reference, and for the other's."""
        measured = {}
        for name in methods:
            measured[name] = self.label_free[name] if name in self.label_free else self._measure(METHODS[name])
            if not METHODS[name].uses_supports:
                self.label_free[name] = measured[name]
            advance()
        one_reference, contrast = self._ceilings()
        return HeadFigures(self._embed(self.store.pooled[:1]).shape[1], measured, one_reference, contrast)

    def _measure(self, method: Method) -> MethodFigures:
        parts = [self._measure_batch(method, part) for part in _batches(len(self.store.target))]
        names = MethodFigures.__dataclass_fields__
        return MethodFigures(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def _measure_batch(self, method: Method, part: slice) -> MethodFigures:
        target = self.store.target[part]
        question = self._question(method, part, target)
        attribution = method.attribute(question)
        saliency = self._saliency(method, attribution)
        swapped = method.attribute(self._question(method, part, self.store.other[part]))
        masks = self.store.masks[target]
        return MethodFigures(
            hit=metrics.pointing_game(saliency, masks).double(),
            energy=metrics.relevance_mass_accuracy(saliency, masks).double(),
            correlation=metrics.map_correlation(saliency, self._saliency(method, swapped)).double(),
            residual=_residual(question, attribution) if method.signed else torch.full(target.shape, torch.nan),
        )

    def _saliency(self, method: Method, attribution: Attribution) -> Float[Tensor, "batch height width"]:
        height, width = self.store.masks.shape[-2:]
        return method.saliency(attribution.cells, (height, width))

    def _question(self, method: Method, part: slice, target: Int[Tensor, "batch"]) -> Question:
        pooled = self.store.pooled[part].double()
        references = self._embed(self.store.crops[self.store.references[part]])[:, :, None]
        supports = SupportSet(references, torch.ones(references.shape[:-1], dtype=torch.bool), TILE_NAMES)
        query, similarity = Features(self.store.maps[part], pooled, self._embed(pooled)), SIMILARITIES[self.similarity]
        scores = RULE.class_scores(query.embedding, supports, similarity)
        explained = score_of(scores, target)
        if method.explains == "contrast":
            explained = lead_over(scores, scores, target, "others", TILE_NAMES)
        return Question(query, supports, explained, scores, target, RULE, similarity, self.pooling, self.head)

    def _ceilings(self) -> tuple[Float[Tensor, "mosaic"], Float[Tensor, "mosaic"]]:
        """Ask the model which tile alone is nearest to the reference, and which has the largest lead over the rest."""
        tiles, references = (self._embed(self.store.crops[rows]) for rows in (self.store.tiles, self.store.references))
        similarities = SIMILARITIES[self.similarity].pairwise(tiles, references)
        target = self.store.target
        own = similarities.take_along_dim(target[:, None, None], dim=2).squeeze(2)
        lead = own - (similarities.sum(dim=2) - own) / (TILES - 1)
        return (own.argmax(dim=1) == target).double(), (lead.argmax(dim=1) == target).double()

    def _embed(self, pooled: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch embedding"]:
        with torch.no_grad():
            embedding: Tensor = self.precise(pooled.double())
            return embedding


def _residual(question: Question, attribution: Attribution) -> Float[Tensor, "batch"]:
    cells = attribution.cells.double().flatten(1)
    terms = cells.abs().sum(dim=1) + attribution.bias.abs()
    return (question.explained.value - cells.sum(dim=1) - attribution.bias).abs() / terms


def _batches(count: int) -> Iterator[slice]:
    return (slice(start, start + MOSAICS_IN_A_BATCH) for start in range(0, count, MOSAICS_IN_A_BATCH))
