"""What finer maps are judged on: photographs with masks or boxes, and mosaics, seen by an encoder in one reading.

Both hand out batches of what is asked about, the images for the encoder, and the figures of maps.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from episodes import LabeledImages, prepare
from fsl_explain import Encoder, metrics
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet
from fsl_explain.config import ComparisonConfig
from fsl_explain.encoder import Features
from fsl_explain.evaluation.comparison.compared_images import draw_supports
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.image_store import embed_in_pieces
from fsl_explain.evaluation.mosaics.explained_mosaics import OneHead, fitted_head
from fsl_explain.evaluation.mosaics.fitted_heads import fit_head
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes, tile_masks
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.explainers.asking import Decided, PooledHead, ask_about
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Question
from fsl_explain.heads.per_scale import PerScale

SIDE = 224  # of the maps that are judged, whatever the side of the images
TIED = 1e-6  # of the largest value: values nearer to it are tied with it


class Batch(Protocol):
    """Some units, asked about."""

    images: Tensor  # for the encoder

    def about(self, method: Method) -> Question:
        """Ask for what a method explains, on the last maps."""
        ...

    def figures(self, saliency: Tensor) -> Mapping[str, Tensor]:
        """Judge maps of ``SIDE`` × ``SIDE`` pixels: one value a unit and figure."""
        ...


@dataclass(frozen=True)
class MosaicBatch:
    """Some mosaics: the lead of the target's reference over the mean of the other three."""

    head: OneHead
    part: slice
    images: Tensor
    masks: Tensor

    def about(self, method: Method) -> Question:
        """Ask about the target's tile."""
        return self.head.question(method, self.part, self.head.store.target[self.part])

    def figures(self, saliency: Tensor) -> Mapping[str, Tensor]:
        """Return whether the largest pixel and the largest sum lie in the right tile, ties in parts, and its mass."""
        target, inside = self.head.store.target[self.part], self.masks
        values = saliency.double()
        sums = torch.einsum("bhw,thw->bt", values, inside.double())
        largest = values[:, None].masked_fill(~inside, -torch.inf).flatten(2).amax(dim=2)
        mass = metrics.relevance_mass_accuracy(values, inside[target])
        shares = {"hit": _share_of_largest(largest, target), "hit_by_sum": _share_of_largest(sums, target)}
        return shares | {"mass": mass.nan_to_num(0)}  # a map without a positive pixel points nowhere


@dataclass(frozen=True)
class Mosaics:
    """Mosaics of a data set; each reading of the network has its head, fitted on crops that appear in none of them."""

    dataset: LabeledImages
    sizes: MosaicSizes
    batch_size: int
    head: str
    unit = "mosaics"

    def batches(self, encoder: Encoder, side: int) -> Iterator[Batch]:
        """Yield all mosaics of ``side`` pixels."""
        one = self._under_head(encoder, side)
        masks = tile_masks(SIDE, SIDE)
        for part in slices(self.sizes.count, self.batch_size):
            yield MosaicBatch(one, part, one.store.images(encoder, part), masks)

    def ceiling(self, encoder: Encoder, side: int) -> Mapping[str, Tensor]:
        """Return whether the model itself, shown each tile alone, gives the right one the largest lead."""
        found = self._under_head(encoder, side).ceilings()["contrast"]
        return {"hit": found, "hit_by_sum": found}

    def _under_head(self, encoder: Encoder, side: int) -> OneHead:
        if self._kept.get("of") != (id(encoder), side):
            sizes = replace(self.sizes, side=side)
            store = embed_mosaics(encoder, self.dataset, sizes, batch_size=self.batch_size)
            by, fitted = DecidedBy.of("mean-similarity", "cosine", encoder.scales), fitted_head(self.head, store)
            plain = fitted_head(self.head, store).to(store.maps.dtype)
            one = OneHead(store, plain, fitted.double(), encoder.pooling, by)
            self._kept.update(of=(id(encoder), side), one=one)
        found: OneHead = self._kept["one"]
        return found

    @cached_property
    def _kept(self) -> dict:
        return {}


@dataclass(frozen=True)
class PhotographBatch:
    """Some photographs: the lead of the predicted class over its runner-up, by prototypes of the supports."""

    images: Tensor
    masks: Tensor
    features: Features
    supports: SupportSet
    decided: Decided
    reading: PooledHead

    def about(self, method: Method) -> Question:
        """Ask about the decision."""
        return ask_about(method, self.reading, self.features, self.supports, self.decided)

    def figures(self, saliency: Tensor) -> Mapping[str, Tensor]:
        """Return LaFAM's six figures."""
        return vars(metrics.map_figures(saliency, self.masks))


@dataclass(frozen=True)
class Photographs:
    """Photographs with a mask or a box, half of them judged under a head that is fitted on the other half.

    ``count`` of those that are no supports are judged, ``fit`` of each half fit a head.
    """

    dataset: LabeledImages
    settings: ComparisonConfig
    count: int
    fit: int
    head: str
    usual: Encoder  # whose images say where a mask lies
    unit = "images"

    @cached_property
    def supports(self) -> Tensor:
        """Data set indices (way, shot)."""
        return draw_supports(self.dataset, self.settings.maps.shots, self.settings.maps.seed)

    @cached_property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        """Data set indices of all others, shuffled."""
        left = np.setdiff1d(np.arange(len(self.dataset)), self.supports.flatten().numpy())
        shuffled = np.random.default_rng(self.settings.maps.seed).permutation(left)[: max(self.count, 2 * self.fit)]
        return shuffled[::2], shuffled[1::2]

    def batches(self, encoder: Encoder, side: int) -> Iterator[Batch]:  # noqa: ARG002 - as its preprocessing says
        """Yield all photographs that are judged."""
        size = self.settings.run.batch_size
        used = np.unique(np.concatenate([*self.halves, self.supports.flatten().numpy()]))
        embedded = embed_in_pieces(encoder, self.dataset, used, size, lambda _done: None).double()
        pooled = embedded.new_full((len(self.dataset), embedded.shape[1]), torch.nan)
        pooled[torch.from_numpy(used)] = embedded
        for own, other in (self.halves, self.halves[::-1]):
            head = self._fitted(encoder, pooled, other[: self.fit])
            judged = own[: (self.count + 1) // 2]
            for part in slices(len(judged), size):
                yield self._batch(encoder, head, pooled, judged[part].tolist())

    def ceiling(self, encoder: Encoder, side: int) -> Mapping[str, Tensor]:  # noqa: ARG002 - there is none
        """Return nothing."""
        return {}

    def _batch(self, encoder: Encoder, head: nn.Module, pooled: Tensor, indices: list[int]) -> PhotographBatch:
        images = torch.stack([prepare(self.dataset[index], encoder.transform).pixels for index in indices])
        masks = torch.stack([prepare(self.dataset[index], self.usual.transform).target_mask for index in indices])
        found = encoder(images)
        values = found.pooled.double()
        with torch.no_grad():
            embedding, shown = head(values), head(pooled[self.supports])
        by = DecidedBy.of(self.settings.maps.rule, self.settings.maps.similarity, encoder.scales)
        shown = shown.expand(len(indices), *shown.shape)
        supports = SupportSet(shown, torch.ones(shown.shape[:-1], dtype=torch.bool), self.dataset.classes)
        scores = by.rule.class_scores(embedding, supports, by.similarity)
        decided = Decided(by.rule, by.similarity, scores, scores, scores.argmax(dim=-1))
        features = Features(found.maps, values, embedding, found.trace)
        plain = deepcopy(head).to(found.maps.dtype)
        return PhotographBatch(images, masks, features, supports, decided, PooledHead(encoder.pooling, plain))

    def _fitted(self, encoder: Encoder, pooled: Tensor, fitting: np.ndarray) -> nn.Module:
        labels = torch.from_numpy(np.asarray(self.dataset.labels))[torch.from_numpy(fitting)]
        parts = pooled[torch.from_numpy(fitting)].chunk(1 if encoder.scales is None else len(encoder.scales.sides), -1)
        heads = [fit_head(self.head, part, labels, self.settings.maps.seed) for part in parts]
        return heads[0] if encoder.scales is None else PerScale(heads)


def _share_of_largest(values: Tensor, target: Tensor) -> Tensor:
    """Return 1 where the target's value is the largest, its part of the point where several are, and else 0."""
    largest = values.amax(dim=1, keepdim=True)
    tied = (values >= largest - TIED * largest.abs()).double()
    return tied.gather(1, target[:, None])[:, 0] / tied.sum(dim=1)
