"""Every image of a run, read, prepared and embedded once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes import LabeledImages, PreparedImage, prepare
from episodes.errors import Mistake
from fsl_explain.batches import read_ahead, slices
from fsl_explain.encoder import Encoder, Features
from fsl_explain.evaluation.run_identity import arrays_hash
from fsl_explain.finer import Finer
from fsl_explain.image_batch import expect_one_size
from fsl_explain.scales import expect_all_alike
from fsl_explain.traces import Trace, behind_each_other, indexed, written_out

Advance = Callable[[int], None]
IMAGES_AT_ONCE = 512  # of a gallery, of which only the embeddings are kept


@dataclass(frozen=True)
class ImageStore:
    """The unique images of a run by their row, in channels-last layout.

    Images without annotation have an empty mask and a box of NaN, so that every localization metric
    of theirs is NaN.
    """

    pixels: Float[Tensor, "image height width 3"]
    maps: Float[Tensor, "image h w channel"]
    pooled: Float[Tensor, "image pooled"]
    embeddings: Float[Tensor, "image embedding"]
    masks: Bool[Tensor, "image height width"]
    boxes: Float[Tensor, "image 4"]
    row_of: Int[Tensor, "dataset"]  # row of each data set index, or -1
    trace: Trace | None = None  # of a readout that is no pooling of the maps, written out
    finer: Callable[[Tensor], Finer | None] | None = None  # what draws the maps of images finer

    def images(self, rows: Int[Tensor, "batch"]) -> Float[Tensor, "batch color height width"]:
        """Return preprocessed images by row, ready for the encoder."""
        return self.pixels.index_select(0, rows).permute(0, 3, 1, 2)

    @property
    def contents(self) -> tuple[str, ...]:
        """A hash of each image as it is measured, with its box and mask."""
        return tuple(arrays_hash(*image) for image in zip(self.pixels, self.masks, self.boxes, strict=True))

    def features(self, rows: Int[Tensor, "batch"]) -> Features:
        """Return features by row, pooled values and embeddings in float64."""
        maps = self.maps[rows].permute(0, 3, 1, 2)
        pooled, embeddings = self.pooled[rows].double(), self.embeddings[rows].double()
        finer = None if self.finer is None else self.finer(self.images(rows))
        return Features(maps, pooled, embeddings, indexed(self.trace, rows), finer)

    @property
    def first(self) -> Features:
        """The features of the first image, which tell of what kind all are; nothing is drawn finer."""
        maps, values = self.maps[:1].permute(0, 3, 1, 2), (self.pooled[:1].double(), self.embeddings[:1].double())
        return Features(maps, *values, indexed(self.trace, torch.tensor([0])))


def embed_unique(
    encoder: Encoder, dataset: LabeledImages, indices: Sequence[int], batch_size: int, advance: Advance
) -> ImageStore:
    """Read, prepare and embed each image of ``indices`` once, in ascending order.

    ``advance`` is called with the number of images done. A few threads read the next images while some are embedded.

    Raises: ``ValueError`` for an encoder that sees supports at sides of their own, which ``embed_by_role`` takes, and
    for images that the preprocessing makes of several sizes.
    """
    expect_all_alike(encoder, "this measurement")
    unique = np.unique(np.asarray(indices, dtype=np.int64))
    prepared: list[PreparedImage] = []
    features: list[Features] = []
    pixels = torch.empty(0)
    coming = read_ahead(partial(_read, encoder, dataset), unique.tolist(), batch_size, torch.get_num_threads())
    for part in coming:
        start = len(prepared)
        for image in part:
            pixels = pixels if prepared else _room(image, len(unique))
            place = len(prepared)
            expect_one_size(pixels[0], image.pixels, "the first one", f"image {unique[place]} of the data set")
            pixels[place] = image.pixels
            prepared.append(replace(image, pixels=pixels[place]))
        found = encoder(pixels[start : len(prepared)].clone())  # a network may write into what it is given
        features.append(replace(found, trace=written_out(found.trace), finer=None))
        advance(len(prepared) - start)
    row_of = torch.full((len(dataset),), -1)
    row_of[torch.from_numpy(unique)] = torch.arange(len(unique))
    height, width = prepared[0].pixels.shape[-2:]
    return ImageStore(
        pixels=pixels.permute(0, 2, 3, 1),
        maps=torch.cat([part.maps.permute(0, 2, 3, 1).cpu() for part in features]).contiguous(),
        pooled=torch.cat([part.pooled.cpu() for part in features]),
        embeddings=torch.cat([part.embedding.cpu() for part in features]),
        masks=torch.stack([_mask(image, height, width) for image in prepared]),
        boxes=torch.stack([_box(image) for image in prepared]),
        row_of=row_of,
        trace=behind_each_other([part.trace for part in features]),
        finer=None if encoder.detail is None else encoder.finer,
    )


def embed_by_role(
    encoder: Encoder,
    dataset: LabeledImages,
    indices: Sequence[int],
    supports: Int[Tensor, "*set"],
    batch_size: int,
    advance: Advance,
) -> ImageStore:
    """Do the same for images of which some, by data set index, are supports in every decision, and seen as such."""
    store = embed_unique(encoder.of_queries, dataset, indices, batch_size, advance)
    if encoder.scales is None or encoder.scales.support_sides is None:
        return store
    shown = embed_unique(encoder.of_supports, dataset, supports.flatten().tolist(), batch_size, lambda _done: None)
    rows, own = (one.row_of[supports.flatten()] for one in (store, shown))
    pooled, embeddings = store.pooled.clone(), store.embeddings.clone()
    pooled[rows], embeddings[rows] = shown.pooled[own], shown.embeddings[own]
    return replace(store, pooled=pooled, embeddings=embeddings)


def embed_in_pieces(
    encoder: Encoder, dataset: LabeledImages, indices: Sequence[int], batch_size: int, advance: Advance
) -> Float[Tensor, "image channel"]:
    """Embed images, given in ascending order, piece by piece: their pixels and maps are not kept."""
    pieces = (indices[part] for part in slices(len(indices), IMAGES_AT_ONCE))
    return torch.cat([embed_unique(encoder, dataset, piece, batch_size, advance).embeddings for piece in pieces])


def _read(encoder: Encoder, dataset: LabeledImages, index: int) -> PreparedImage:
    labeled = dataset[index]
    if encoder.carries_boxes:
        return prepare(labeled, encoder.transform)
    if labeled.boxes is not None or labeled.mask is not None:
        raise Mistake(
            "expected a torchvision.transforms.v2 preprocessing, which moves boxes and masks with their image, "
            f"but got {type(encoder.transform).__name__}; write it with v2, or use images without annotation."
        )
    return PreparedImage(encoder.preprocess([labeled.image])[0], None, None)


def _room(image: PreparedImage, count: int) -> Float[Tensor, "image color height width"]:
    """Return room for images of this kind, channels last, so that a batch and the whole are the same memory."""
    color, height, width = image.pixels.shape
    return image.pixels.new_empty(count, height, width, color).permute(0, 3, 1, 2)


def _mask(image: PreparedImage, height: int, width: int) -> Bool[Tensor, "height width"]:
    target = image.target_mask
    return torch.zeros(height, width, dtype=torch.bool) if target is None else target


def _box(image: PreparedImage) -> Float[Tensor, "4"]:
    box = image.target_box
    return torch.full((4,), torch.nan) if box is None else box
