"""Maps, masks and masked forward passes of many queries at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain import metrics
from fsl_explain.classifiers import SupportSet
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.image_store import ImageStore
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Question


@dataclass(frozen=True)
class Judge:
    """What one run measures with: its encoder, images and ways of masking."""

    encoder: Encoder
    store: ImageStore
    masking: str
    iou_threshold: float
    batch_size: int

    def embed_masked(
        self, rows: Int[Tensor, "batch"], saliency: Float[Tensor, "batch height width"], signed: bool
    ) -> Float[Tensor, "batch embedding"]:
        """Embed images masked by their maps; a mask that removes nothing keeps the embedding as it is."""
        make = metrics.masks_from_signed_saliency if signed else metrics.masks_from_saliency
        masks = make(saliency)
        whole = masks.amin(dim=(1, 2)) == 1
        kept = self.store.embeddings[rows].double()
        if bool(whole.all()):
            return kept
        images = self.store.images(rows)
        removed = metrics.removed_pixels(images, self.masking, black=self.encoder.black)
        embedded = self.encoder(metrics.masked_images(images, masks, removed=removed)).embedding.cpu().double()
        return torch.where(whole[:, None], kept, embedded)

    def localize(
        self, rows: Int[Tensor, "batch"], saliency: Float[Tensor, "batch height width"]
    ) -> dict[str, Float[Tensor, "batch"]]:
        """Compare maps with the annotated objects."""
        masks, boxes = self.store.masks[rows], self.store.boxes[rows]
        return {
            "proportion": metrics.proportion(saliency, masks),
            "intersection_over_union": metrics.intersection_over_union(saliency, boxes, threshold=self.iou_threshold),
            "pointing_game": metrics.pointing_game(saliency, masks),
        }


@dataclass(frozen=True)
class Judged:
    """Masked embeddings and localization figures of a list of queries, or of images."""

    embeddings: Float[Tensor, "query embedding"]
    figures: dict[str, Float[Tensor, "query"]]

    def at(self, index: Int[Tensor, "query"]) -> "Judged":
        """Pick some, in any order."""
        return Judged(self.embeddings[index], {name: values[index] for name, values in self.figures.items()})


def judge(judge_with: Judge, method: Method, question: Question, rows: Int[Tensor, "query"]) -> Judged:
    """Map, mask and measure one batch of queries."""
    size = (judge_with.store.pixels.shape[1], judge_with.store.pixels.shape[2])
    saliency = method.saliency(method.attribute(question).cells, size)
    embeddings = judge_with.embed_masked(rows, saliency, method.signed)
    return Judged(embeddings, judge_with.localize(rows, saliency))


def join(parts: list[Judged]) -> Judged:
    """Put batches together."""
    figures = {name: torch.cat([part.figures[name] for part in parts]) for name in parts[0].figures}
    return Judged(torch.cat([part.embeddings for part in parts]), figures)


def supports_of(
    store: ImageStore, rows: Int[Tensor, "query way shot"], valid: Bool[Tensor, "way shot"], classes: tuple[str, ...]
) -> SupportSet:
    """Gather the support embeddings of each query's episode."""
    return SupportSet(store.embeddings[rows].double(), valid.expand(rows.shape), classes)
