"""Every crop and every mosaic of a benchmark, read and embedded once."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from episodes import LabeledImages, direct_resize
from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.encoder import Encoder, Features
from fsl_explain.evaluation.masked_queries import check_batch_size
from fsl_explain.evaluation.mosaics.mosaic_images import (
    Mosaic,
    MosaicSizes,
    Parts,
    crop_area,
    cut,
    draw_mosaic,
    paste,
    split_images,
    tile_masks,
)
from fsl_explain.progress import Report, silent
from fsl_explain.scales import Scales
from fsl_explain.traces import Trace, behind_each_other, written_out

USUAL = MosaicSizes()
SIDE_UNLESS_SHOWN = 224  # of a mosaic, where the encoder's preprocessing does not show its size


@dataclass(frozen=True)
class MosaicStore:
    """What the encoder made of every crop alone and of every mosaic."""

    crops: Float[Tensor, "image pooled"]  # pooled features by data set index; NaN for an image that is not used
    fitting: Int[Tensor, "fitting"]  # data set indices of the crops that heads are fitted on
    labels: Int[Tensor, "image"]
    maps: Float[Tensor, "mosaic channel h w"]
    pooled: Float[Tensor, "mosaic pooled"]
    tiles: Int[Tensor, "mosaic tile"]  # data set indices
    references: Int[Tensor, "mosaic tile"]
    target: Int[Tensor, "mosaic"]  # tile of the explained class
    other: Int[Tensor, "mosaic"]  # tile of the second reference's class
    masks: Bool[Tensor, "tile height width"]
    trace: Trace | None = None  # of the mosaics, for a readout that is no pooling of the maps; written out
    readout_head: nn.Module | None = None  # what a token readout does behind its pooled values
    scales: Scales | None = None  # at which images were seen, crops alone as supports
    crop_pixels: UInt8[Tensor, "crop side side 3"] | None = None  # of each crop in a mosaic, half as wide as that
    crop_rows: Int[Tensor, "mosaic tile"] | None = None  # which of them each tile is

    def images(self, encoder: Encoder, part: slice) -> Float[Tensor, "mosaic color height width"]:
        """Put some mosaics together again, prepared for the encoder, for methods that ask the network again."""
        if self.crop_pixels is None or self.crop_rows is None:
            raise Mistake("expected a store with the pixels of its crops; make it with embed_mosaics.")
        crops = [[PIL.Image.fromarray(self.crop_pixels[row].numpy()) for row in rows] for rows in self.crop_rows[part]]
        return mosaic_pixels(encoder, [paste(tiles) for tiles in crops], 2 * self.crop_pixels.shape[1])

    def tensors(self) -> Iterator[Tensor]:
        """Yield all it holds, in one order."""
        for value in vars(self).values():
            if isinstance(value, nn.Module):
                yield from value.state_dict().values()
            else:
                yield from (value,) if isinstance(value, Tensor) else value.parts() if isinstance(value, Trace) else ()


def draw_mosaics(dataset: LabeledImages, sizes: MosaicSizes = USUAL) -> tuple[Parts, list[Mosaic]]:
    """Split the images and draw the mosaics of a run.

    Raises: ``ValueError`` for too few classes or images.
    """
    parts = split_images(dataset, sizes.fit_share, sizes.seed)
    return parts, [draw_mosaic(dataset.labels, parts.mosaics, sizes.seed, number) for number in range(sizes.count)]


def embed_mosaics(
    encoder: Encoder,
    dataset: LabeledImages,
    sizes: MosaicSizes = USUAL,
    *,
    batch_size: int = 16,
    report: Report = silent,
) -> MosaicStore:
    """Embed each crop alone at the size of the encoder's images, and each mosaic of crops of half a mosaic's side.

    Crops alone are references, tiles that the model is shown alone, and what heads are fitted on: all of them are seen
    as supports are.

    Raises: ``ValueError`` for too few classes or images, or a side that the encoder's images cannot be given.
    """
    check_batch_size(batch_size)
    side = mosaic_side(encoder, sizes.side)
    parts, mosaics = draw_mosaics(dataset, sizes)
    tiles = np.stack([mosaic.tiles for mosaic in mosaics])
    references = np.stack([mosaic.references for mosaic in mosaics])
    used = np.unique(np.concatenate([parts.fitting, tiles.ravel(), references.ravel()]))
    crops, small = _embed_crops(encoder, dataset, used, sizes, batch_size, report)
    in_mosaics, rows = np.unique(tiles, return_inverse=True)
    features, size = _embed_pictures(encoder, _Pictures(small, tiles), side, batch_size, report)
    return MosaicStore(
        crops=crops,
        fitting=torch.from_numpy(parts.fitting),
        labels=torch.from_numpy(np.asarray(dataset.labels)),
        maps=torch.cat([part.maps.cpu() for part in features]),
        pooled=torch.cat([part.pooled.cpu() for part in features]),
        tiles=torch.from_numpy(tiles),
        references=torch.from_numpy(references),
        target=torch.tensor([mosaic.target for mosaic in mosaics]),
        other=torch.tensor([mosaic.other for mosaic in mosaics]),
        masks=tile_masks(*size),
        trace=behind_each_other([part.trace for part in features]),
        readout_head=None if encoder.tokens is None else deepcopy(encoder.tokens.head).cpu(),
        scales=encoder.scales,
        crop_pixels=torch.from_numpy(np.stack([np.asarray(small[index].convert("RGB")) for index in in_mosaics])),
        crop_rows=torch.from_numpy(rows.reshape(tiles.shape)),
    )


def picture_of(mosaic: Mosaic, dataset: LabeledImages, crop: str, side: int) -> PIL.Image.Image:
    """Return the mosaic as an image of ``side`` × ``side`` pixels, of which each tile has half."""
    labeled = [dataset[index] for index in mosaic.tiles.tolist()]
    return paste([cut(image.image, crop_area(image, crop), side // 2) for image in labeled])


def side_of(encoder: Encoder) -> int:
    """Return the side of the encoder's images in pixels."""
    return encoder.image_size or SIDE_UNLESS_SHOWN


def mosaic_side(encoder: Encoder, side: int | None = None) -> int:
    """Return the side of a mosaic in pixels.

    Raises: ``ValueError`` for a side of its own where the encoder's preprocessing hides its normalization.
    """
    if side is not None and encoder.normalization is None:
        raise Mistake(
            f"mosaics of {side} pixels need an encoder whose preprocessing shows its normalization; drop mosaics.side."
        )
    return side or side_of(encoder)


def mosaic_pixels(
    encoder: Encoder, pictures: list[PIL.Image.Image], side: int
) -> Float[Tensor, "batch color height width"]:
    """Prepare mosaics as the encoder prepares its images, but at a side of their own."""
    if side == side_of(encoder) or encoder.normalization is None:
        return encoder.preprocess(pictures)
    resize = direct_resize(side, *encoder.normalization, bgr=encoder.bgr)
    return torch.stack([resize(picture) for picture in pictures])


@dataclass(frozen=True)
class _Pictures:
    """The mosaics as images, made when asked for."""

    small: dict[int, PIL.Image.Image]  # crops of half the side by data set index
    tiles: np.ndarray  # (mosaic, tile)

    def __getitem__(self, part: slice) -> list[PIL.Image.Image]:
        return [paste([self.small[index] for index in row]) for row in self.tiles[part].tolist()]


def _embed_crops(
    encoder: Encoder, dataset: LabeledImages, used: np.ndarray, sizes: MosaicSizes, batch_size: int, report: Report
) -> tuple[Float[Tensor, "image channel"], dict[int, PIL.Image.Image]]:
    side, half = side_of(encoder), mosaic_side(encoder, sizes.side) // 2
    pooled: list[Tensor] = []
    small: dict[int, PIL.Image.Image] = {}
    report("embedding crops", 0, len(used))
    for part in slices(len(used), batch_size):
        indices = used[part].tolist()
        images = [dataset[index] for index in indices]
        areas = [crop_area(image, sizes.crop) for image in images]
        alone = [cut(image.image, area, side) for image, area in zip(images, areas, strict=True)]
        pooled.append(encoder.of_supports(encoder.preprocess(alone)).pooled.cpu())
        small |= {
            index: cut(image.image, area, half) for index, image, area in zip(indices, images, areas, strict=True)
        }
        report("embedding crops", len(indices), len(used))
    crops = pooled[0].new_full((len(dataset), pooled[0].shape[1]), torch.nan)
    crops[torch.from_numpy(used)] = torch.cat(pooled)
    return crops, small


def _embed_pictures(
    encoder: Encoder, pictures: _Pictures, side: int, batch_size: int, report: Report
) -> tuple[Sequence[Features], tuple[int, int]]:
    count = len(pictures.tiles)
    features, size = [], (0, 0)
    report("embedding mosaics", 0, count)
    for part in slices(count, batch_size):
        pixels = mosaic_pixels(encoder, pictures[part], side)
        size = (pixels.shape[-2], pixels.shape[-1])
        found = encoder(pixels)
        features.append(replace(found, trace=written_out(found.trace), finer=None))
        report("embedding mosaics", len(pixels), count)
    return features, size
