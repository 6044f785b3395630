"""The mosaics of a benchmark, explained by one method under one head; and the model itself, shown each tile alone.

A head only changes what follows the pooled features, so that nothing is embedded twice.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fsl_explain.batches import slices
from fsl_explain.classifiers import LocalRule, SupportSet, is_local
from fsl_explain.encoder import Encoder, Features
from fsl_explain.engine import Part
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import FIGURES, OF_MOSAICS
from fsl_explain.evaluation.mosaics.fitted_heads import find_head
from fsl_explain.evaluation.mosaics.mosaic_images import TILES
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore
from fsl_explain.explainers.asking import Decided, Options, PooledHead, ask_about
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.question import Pixels, Question
from fsl_explain.heads import Pooling
from fsl_explain.heads.cell_head import cell_head
from fsl_explain.heads.per_scale import PerScale
from fsl_explain.traces import indexed

MOSAICS_IN_A_BATCH = 50
TILE_NAMES = ("upper left", "upper right", "lower left", "lower right")
CEILINGS = "the model itself"


@dataclass(frozen=True)
class MosaicWork:
    """Measures every mosaic by one method under one head; each head is fitted once."""

    store: MosaicStore
    pooling: Pooling
    decided_by: DecidedBy
    methods: Mapping[str, Method]
    seed: int
    encoder: Encoder | None = None  # for methods that ask it again
    fitted: dict[str, "OneHead"] = field(default_factory=dict)

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Return the figures of a method, or what the model reaches that is shown each tile alone."""
        head, method = self._head(part.made_of["head"]), part.made_of["method"]
        return head.ceilings() if method == CEILINGS else head.measure(self.methods[method])

    def _head(self, name: str) -> "OneHead":
        if name not in self.fitted:
            local = is_local(self.decided_by.rule)
            head = fitted_head(name, self.store, self.seed, on_cells=local).to(self.store.maps.dtype)
            found = OneHead(self.store, head, deepcopy(head).double(), self.pooling, self.decided_by, self.encoder)
            self.fitted[name] = replace(found, by=self.decided_by.over(found.first)) if local else found
        return self.fitted[name]


@dataclass(frozen=True)
class OneHead:
    """One head on the store's features."""

    store: MosaicStore
    head: nn.Module  # in the network's dtype
    precise: nn.Module  # the same weights in float64: embeddings are in it, whatever the network's dtype
    pooling: Pooling
    by: DecidedBy
    encoder: Encoder | None = None  # for methods that ask it again

    def measure(self, method: Method) -> dict[str, Float[Tensor, "mosaic"]]:
        """Explain all mosaics twice: for the target's reference, and for the other's."""
        batches = slices(len(self.store.target), MOSAICS_IN_A_BATCH)
        parts = [self._measure_batch(method, part) for part in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def ceilings(self) -> dict[str, Tensor]:
        """Ask the model which tile alone is nearest to the reference, and which has the largest lead over the rest."""
        tiles, references = (self._embed(self.store.crops[rows]) for rows in (self.store.tiles, self.store.references))
        similarities = self._compared(tiles, references)
        target = self.store.target
        own = similarities.take_along_dim(target[:, None, None], dim=2).squeeze(2)
        lead = own - (similarities.sum(dim=2) - own) / (TILES - 1)
        return {
            "one_reference": (own.argmax(dim=1) == target).double(),
            "contrast": (lead.argmax(dim=1) == target).double(),
            "dimensions": torch.tensor(self._dimensions()),
        }

    def _compared(
        self, tiles: Float[Tensor, "mosaic tile embedding"], references: Float[Tensor, "mosaic tile embedding"]
    ) -> Float[Tensor, "mosaic tile reference"]:
        """Return how alike each tile alone is to each reference."""
        if not is_local(self.by.rule):
            return self.by.similarity.pairwise(tiles, references)
        valid = torch.ones(*references.shape[:-1], 1, dtype=torch.bool)
        supports = SupportSet(references[:, None, :, None], valid[:, None], TILE_NAMES)
        return self.by.rule.class_scores(tiles, supports, self.by.similarity)

    def _dimensions(self) -> int:
        """Return the number of values that are compared of an image, or of a cell of it."""
        rule = self.by.rule
        width = self._embed(self.store.pooled[:1]).shape[1]
        return rule.channels or width if isinstance(rule, LocalRule) else width

    @property
    def first(self) -> Features:
        """The features of the first mosaic."""
        pooled = self.store.pooled[:1].double()
        return Features(self.store.maps[:1], pooled, self._embed(pooled))

    def _measure_batch(self, method: Method, part: slice) -> dict[str, Float[Tensor, "batch"]]:
        target = self.store.target[part]
        question = self.question(method, part, target)
        attribution = method.attribute(question)
        swapped = method.attribute(self.question(method, part, self.store.other[part]))
        values = {
            "saliency": self._saliency(method, attribution),
            "mask": self.store.masks[target],
            "other_saliency": self._saliency(method, swapped),
        }
        residual = _residual(question, attribution) if method.signed else torch.full(target.shape, torch.nan)
        return {name: FIGURES[name].of(values).double() for name in OF_MOSAICS} | {"residual": residual}

    def _saliency(self, method: Method, attribution: Attribution) -> Float[Tensor, "batch height width"]:
        height, width = self.store.masks.shape[-2:]
        return method.saliency(attribution.cells, (height, width))

    def question(self, method: Method, part: slice, target: Int[Tensor, "batch"]) -> Question:
        """Ask a method about some mosaics: the lead of the target's reference over the others'."""
        pooled = self.store.pooled[part].double()
        references = self._embed(self.store.crops[self.store.references[part]])[:, :, None]
        supports = SupportSet(references, torch.ones(references.shape[:-1], dtype=torch.bool), TILE_NAMES)
        trace, finer = indexed(self.store.trace, part), None
        if self.encoder is not None and self.encoder.detail is not None:
            finer = self.encoder.finer(self.store.images(self.encoder, part))
        query, by = Features(self.store.maps[part], pooled, self._embed(pooled), trace, finer), self.by
        scores = by.rule.class_scores(query.embedding, supports, by.similarity)
        decided = Decided(by.rule, by.similarity, scores, scores, target)
        reading = PooledHead(self.pooling, self.head)
        encoder = self.encoder if method.asks_for_pixels(self.pooling) else None
        pixels = None if encoder is None else Pixels(encoder, self.store.images(encoder, part))
        return ask_about(method, reading, query, supports, decided, pixels, Options(against="others"))

    def _embed(self, pooled: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch embedding"]:
        with torch.no_grad():
            embedding: Tensor = self.precise(pooled.double())
            return embedding


def _residual(question: Question, attribution: Attribution) -> Float[Tensor, "batch"]:
    cells = attribution.cells.double().flatten(1)
    terms = cells.abs().sum(dim=1) + attribution.bias.abs()
    return (question.explained.value - cells.sum(dim=1) - attribution.bias).abs() / terms


def fitted_head(name: str, store: MosaicStore, seed: int = 0, *, on_cells: bool = False) -> nn.Module:
    """Fit a head on the crops that appear in no mosaic, behind the layers of a token readout where there are such.

    Of images seen at several scales each has a head of its own. ``on_cells`` puts the head on each cell of local
    features; it is fitted on the means over the cells, which for a linear head are what it makes of these.
    """
    pooled, labels = store.crops[store.fitting].double(), store.labels[store.fitting]
    if on_cells:
        channels = store.maps.shape[1]
        return cell_head(_fitted(name, store, pooled.unflatten(-1, (channels, -1)).mean(dim=-1), labels, seed))
    if store.scales is None:
        return _fitted(name, store, pooled, labels, seed)
    parts = pooled.chunk(len(store.scales.sides), dim=-1)
    return PerScale([_fitted(name, store, part, labels, seed) for part in parts])


def _fitted(name: str, store: MosaicStore, pooled: Tensor, labels: Tensor, seed: int) -> nn.Module:
    if store.readout_head is None:
        return find_head(name)(pooled, labels, seed)
    own = deepcopy(store.readout_head).double()
    with torch.no_grad():
        read_out = own(pooled)
    return nn.Sequential(own, find_head(name)(read_out, labels, seed))
