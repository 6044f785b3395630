"""Maps, masks and masked forward passes of many queries at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain import metrics
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.figures import Figure
from fsl_explain.evaluation.image_store import ImageStore
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.question import Question
from fsl_explain.registries import MASKINGS

NUMBERS_TOGETHER = 64 * 224 * 224  # of the maps of a group, or of what its queries are compared with
NUMBERS_IN_CACHE = 2**19  # of the pixels that are masked at once: 2 MB in single precision
NEEDS_OF_DECISIONS = ("saliency", "mask", "boxes", "iou_threshold", "images", "score", "masked_score")
"""What figures of decisions can be made of."""


@dataclass(frozen=True)
class Judge:
    """What one run measures with: its encoder, images, ways of masking, and figures."""

    encoder: Encoder
    store: ImageStore
    masking: str
    iou_threshold: float
    batch_size: int
    figures: tuple[Figure, ...] = ()
    keeps_maps: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its images."""
        return self.store.pixels.shape[1], self.store.pixels.shape[2]

    @property
    def masks(self) -> bool:
        """Whether a figure asks for masked queries."""
        return any("masked_score" in figure.needs for figure in self.figures)

    @cached_property
    def black(self) -> Float[Tensor, "_color 1 1"] | None:
        """What black is after the encoder's preprocessing, where that is known."""
        return self.encoder.black

    def groups(self, method: Method, count: int, compared: int) -> Iterator[slice]:
        """Cut a number of queries into groups, each of which is explained and measured together.

        There are many small steps to both, each as long for a few maps as for many, so that a group is several batches
        of the network, unless explaining asks the network again. ``compared`` is how many numbers each query is
        compared with: of many voters, or of the cells of supports, only a batch is gathered at once.
        """
        asks_again = method.asks_for_pixels(self.encoder.pooling) or self.encoder.reading.tail.is_network
        most = self.batch_size * max(1, self.size[0] * self.size[1], compared)
        several = 1 if asks_again or self.store.finer is not None else max(1, NUMBERS_TOGETHER // most)
        return slices(count, several * self.batch_size)

    def embed_masked(
        self, rows: Int[Tensor, "group"], saliency: Float[Tensor, "group height width"], signed: bool
    ) -> Float[Tensor, "group embedding"]:
        """Embed images masked by their maps; a mask that removes nothing keeps the embedding as it is."""
        masks = metrics.masks_from_signed_saliency(saliency) if signed else metrics.masks_from_saliency(saliency)
        whole = masks.amin(dim=(1, 2)) == 1
        embeddings = self.store.embeddings[rows].double()
        if bool(whole.any()):
            rows, masks = rows[~whole], masks[~whole]
        parts = [
            self.encoder(self._masked(rows[part], masks[part])).embedding.cpu().double()
            for part in slices(len(rows), self.batch_size)
        ]
        if parts:
            embeddings[~whole] = torch.cat(parts)
        return embeddings

    def _masked(
        self, rows: Int[Tensor, "batch"], masks: Float[Tensor, "batch height width"]
    ) -> Float[Tensor, "batch color height width"]:
        """Mask a few images at a time, whose pixels are still in the cache of a processor when they are multiplied."""
        shape = self.store.pixels.shape[1:]
        dtype = torch.promote_types(self.store.pixels.dtype, masks.dtype)
        masked = self.store.pixels.new_empty(len(rows), *shape, dtype=dtype).permute(0, 3, 1, 2)
        for piece in slices(len(rows), max(1, NUMBERS_IN_CACHE // shape.numel())):
            images = self.store.images(rows[piece])
            removed = metrics.removed_pixels(images, self.masking, black=self.black)
            metrics.masked_images(images, masks[piece], removed=removed, out=masked[piece])
        return masked

    def of_maps(
        self, rows: Int[Tensor, "batch"], saliency: Float[Tensor, "batch height width"]
    ) -> dict[str, Float[Tensor, "batch"]]:
        """Return the figures that are made of maps, by name."""
        figures = [one for one in self.figures if not one.per_query]
        values = {"saliency": saliency, "iou_threshold": self.iou_threshold}
        values |= {"mask": self.store.masks[rows], "boxes": self.store.boxes[rows]}
        if any("images" in one.needs for one in figures):
            values["images"] = self.store.images(rows)
        return {one.name: checked_values(one, one.of(values), len(rows)) for one in figures}

    def of_scores(
        self, score: Float[Tensor, "query"], masked_score: Float[Tensor, "query"]
    ) -> dict[str, Float[Tensor, "query"]]:
        """Return the figures that are made of scores, by name."""
        values = {"score": score, "masked_score": masked_score}
        return {one.name: checked_values(one, one.of(values), len(score)) for one in self.figures if one.per_query}

    def in_order(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return figures in the order in which they were asked for."""
        return {one.name: found[one.name] for one in self.figures}


@dataclass(frozen=True)
class Judged:
    """Masked embeddings and figures of the maps of queries or images, and the cells where maps are kept."""

    embeddings: Float[Tensor, "query embedding"]
    figures: dict[str, Float[Tensor, "query"]]
    cells: Float[Tensor, "query h w"] | None = None

    def at(self, index: Int[Tensor, "query"]) -> "Judged":
        """Pick some, in any order."""
        cells = None if self.cells is None else self.cells[index]
        return Judged(self.embeddings[index], {name: values[index] for name, values in self.figures.items()}, cells)


def judge(judge_with: Judge, method: Method, question: Question, rows: Int[Tensor, "query"]) -> Judged:
    """Map, mask and measure one group of queries."""
    cells = method.attribute(question).cells
    saliency = method.saliency(cells, judge_with.size)
    if judge_with.masks:
        embeddings = judge_with.embed_masked(rows, saliency, method.signed)
    else:
        embeddings = judge_with.store.embeddings[rows].double()
    return Judged(embeddings, judge_with.of_maps(rows, saliency), cells.cpu() if judge_with.keeps_maps else None)


def join(judge_with: Judge, parts: Sequence[Judged]) -> Judged:
    """Put batches together; there may be none."""
    if not parts:
        channels = judge_with.store.embeddings.shape[1]
        nothing = {figure.name: torch.zeros(0) for figure in judge_with.figures if not figure.per_query}
        return Judged(torch.zeros(0, channels, dtype=torch.float64), nothing)
    figures = {name: torch.cat([part.figures[name] for part in parts]) for name in parts[0].figures}
    cells = [part.cells for part in parts if part.cells is not None]
    return Judged(torch.cat([part.embeddings for part in parts]), figures, torch.cat(cells) if cells else None)


def supports_of(
    store: ImageStore, rows: Int[Tensor, "query way shot"], valid: Bool[Tensor, "way shot"], classes: tuple[str, ...]
) -> SupportSet:
    """Gather the support embeddings of each query's episode."""
    return SupportSet(store.embeddings[rows].double(), valid.expand(rows.shape), classes)


def checked_values(figure: Figure, values: object, maps: int) -> Tensor:
    """Return what the function of a figure gave, if it is one number for each map. Raises: ``ValueError``."""
    if not isinstance(values, Tensor) or values.shape != (maps,):
        got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise Mistake(
            f"expected the figure {figure.name!r} to be a tensor of one number for each of {maps} maps, but got {got}; "
            "let its function return shape (batch,)."
        )
    return values


def check_measuring(masking: str, iou_threshold: float, batch_size: int) -> None:
    """Refuse ways of measuring that cannot be. Raises: ``LookupError`` or ``ValueError``."""
    MASKINGS.checked(masking)
    if not 0 < iou_threshold < 1:
        raise Mistake(f"expected an iou_threshold between 0 and 1, but got {iou_threshold:g}; 0.2 is the papers'.")
    check_batch_size(batch_size)


def check_batch_size(batch_size: int) -> None:
    """Refuse batches without an image. Raises: ``ValueError``."""
    if batch_size < 1:
        raise Mistake(f"expected a batch_size of at least 1, but got {batch_size}; 8 or 16 suit a processor.")
