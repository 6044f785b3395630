"""The embeddings of a data set's images, batch by batch: in this process or on an engine's workers, in order."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from episodes.reading import all_broken
from fsl_explain.batches import read_ahead, slices
from fsl_explain.encoder import Encoder
from fsl_explain.engine import LOCAL, EngineChoice, Part, engine_for, in_order
from fsl_explain.engines.local import LocalEngine
from fsl_explain.progress import Report

STAGE = "embed"
IMAGES_IN_A_PART = 64


def embedded(
    encoder: Encoder,
    dataset: LabeledImages,
    start: int = 0,
    batch_size: int = 16,
    chosen: Sequence[int] | None = None,
    engine: EngineChoice = LOCAL,
) -> Iterator[Float[Tensor, "image channel"]]:
    """Yield the embeddings of a data set's images in order, from ``start`` on, some at a time, on the CPU.

    ``chosen`` are the positions of those that are wanted; None: of all. Batches are the same on every engine.
    """
    wanted = (range(len(dataset)) if chosen is None else chosen)[start:]
    running = engine_for(engine, None, "")
    if isinstance(running, LocalEngine):
        yield from _embedded_here(encoder, dataset, batch_size, wanted)
        return
    together = max(1, IMAGES_IN_A_PART // batch_size) * batch_size
    parts = [
        Part(f"images {part.start + start} to {part.stop + start - 1}", {"positions": list(wanted[part])})
        for part in slices(len(wanted), together)
    ]
    make = functools.partial(_EmbeddingWork, encoder, dataset, batch_size)
    for result in in_order(running.map(make, parts)):
        yield result["embeddings"]


def embedded_together(
    encoder: Encoder,
    dataset: LabeledImages,
    batch_size: int,
    report: Report,
    engine: EngineChoice = LOCAL,
    chosen: Sequence[int] | None = None,
) -> Float[Tensor, "image channel"]:
    """Return the embeddings of all images, or of those chosen; ``report`` is told of images done."""
    parts, total = [], len(dataset) if chosen is None else len(chosen)
    report(STAGE, 0, total)
    for embeddings in embedded(encoder, dataset, 0, batch_size, chosen, engine):
        parts.append(embeddings)
        report(STAGE, len(embeddings), total)
    return torch.cat(parts) if parts else torch.empty(0, 0)


@dataclass(frozen=True)
class _EmbeddingWork:
    """Embeds some images, batch by batch."""

    encoder: Encoder
    dataset: LabeledImages
    batch_size: int

    def __call__(self, part: Part) -> dict[str, Tensor]:
        """Return the embeddings of the images of a part."""
        batches = _embedded_here(self.encoder, self.dataset, self.batch_size, part.made_of["positions"])
        return {"embeddings": torch.cat(list(batches))}


def _embedded_here(
    encoder: Encoder, dataset: LabeledImages, batch_size: int, wanted: Sequence[int]
) -> Iterator[Float[Tensor, "image channel"]]:
    """Yield a batch at a time. A few threads read the next batch while one is embedded."""
    read = functools.partial(_pixels, encoder, dataset)
    for coming in read_ahead(read, wanted, batch_size, torch.get_num_threads()):
        yield encoder(torch.stack(_together(dataset, coming))).embedding.detach().cpu()


def embedding_channels(encoder: Encoder, dataset: LabeledImages) -> int:
    """Return how many channels the encoder's embeddings have, by embedding the first image."""
    first = _together(dataset, (_pixels(encoder, dataset, position) for position in range(1)))
    return encoder(first[0][None]).embedding.shape[-1]


def _pixels(encoder: Encoder, dataset: LabeledImages, position: int) -> Float[Tensor, "color height width"]:
    return encoder.preprocess([dataset[position].image])[0]


def _together(dataset: LabeledImages, pixels: Iterator[Tensor]) -> list[Tensor]:
    """Return preprocessed images as they are read; where one is broken, name all that are."""
    try:
        return list(pixels)
    except Mistake as error:
        raise all_broken(dataset, error) from error
