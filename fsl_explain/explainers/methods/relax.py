"""RELAX and U-RELAX: which pixels keep an image's embedding what it is, and how sure that is.

Source: Wickstrøm et al., "RELAX: Representation Learning Explainability", 2023, and the code published with it.
The image is masked at random many times; a pixel matters as much as the masked images that show it stay similar to
the whole one. Notation: s is the cosine similarity of a masked image's embedding to its own image's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from operator import add

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake, WrongType
from episodes.naming import unknown_name
from episodes.position import position
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.explainers.compared import as_batch
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import masked_embeddings, pixels_of, ranges
from fsl_explain.explainers.methods.map_gradients import attribute_supports
from fsl_explain.explainers.methods.mask_statistics import SplitSums, split_sums
from fsl_explain.explainers.methods.random_masks import VARIANTS, random_masks
from fsl_explain.explainers.normalization import min_max_map, upsample
from fsl_explain.explainers.question import Question
from fsl_explain.heads.direction import direction, is_zero

MASKS = 2048
MASKS_BETWEEN_CHECKS = 256
OF_THE_WHOLE_IMAGE = 1.0  # its cosine similarity to itself, on which the others are centered


@dataclass(frozen=True, kw_only=True)
class RelaxOptions:
    """How RELAX masks. The official code draws 3,000 masks; the rest of the defaults are its own.

    ``masks`` is their number, 2,048 if None. Each has ``grid`` cells a side, every one of them kept with the
    probability ``keep``, above 0 and up to 1. An image's masks are drawn from ``seed`` and do not depend on
    ``batch_size``, the masked images in one forward pass.

    ``variant="lafam"`` is the simplified RELAX of LaFAM's tables: cells enlarged by the nearest, no shift, and as
    many masks as the activation maps have channels, if None. ``until_stable`` stops an image early, after any multiple
    of 256 masks, once its ``stability`` has reached it, a correlation of at most 1; None uses all masks.

    Raises: ``ValueError`` for numbers that make no masks, ``LookupError`` for an unknown variant, ``TypeError`` for a
    fraction of a mask, cell or image.
    """

    masks: int | None = None
    grid: int = 7
    keep: float = 0.5
    seed: int = 0
    batch_size: int = 32
    variant: str = "official"
    until_stable: float | None = None

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant of RELAX", self.variant, VARIANTS)
        for name, value in (("masks", self.masks), ("grid", self.grid), ("batch_size", self.batch_size)):
            if value is not None and position(value, f"{name} as a whole number") < 1:
                raise Mistake(f"RELAX needs {name} of at least 1, but got {value}; raise it.")
        if position(self.seed, "seed as a whole number") < 0:
            raise Mistake(f"RELAX needs a seed of at least 0, but got {self.seed}; raise it.")
        if not 0 < self.keep <= 1:
            raise Mistake(f"RELAX needs a keep probability above 0 and up to 1, but got {self.keep}; use 0.5.")
        if self.until_stable is not None and not self.until_stable <= 1:
            raise Mistake(
                f"stability is a correlation of at most 1, but until_stable is {self.until_stable}, which no map "
                "reaches; use 0.95."
            )


@dataclass(frozen=True)
class Relax:
    """What RELAX found, in float64 and on the CPU; index that of a batch to get one image's.

    ``importance`` is R, a weighted mean of cosines, in [-1, 1]: larger matters more. ``uncertainty`` is U >= 0, a
    weighted sum, which grows with the number of masks. ``stability`` correlates R from the even masks with R from the
    odd ones, in [-1, 1]: larger is more stable; NaN where one of them is flat. ``masks`` is how many were used.
    """

    importance: Float[Tensor, "*batch height width"]
    uncertainty: Float[Tensor, "*batch height width"]
    stability: Float[Tensor, "*batch"]
    masks: Int[Tensor, "*batch"]

    @property
    def certain_importance(self) -> Float[Tensor, "*batch height width"]:
        """U-RELAX: R where U is at most its median (the lower of the two middle ones), 0 elsewhere."""
        median = self.uncertainty.flatten(start_dim=-2).median(dim=-1).values[..., None, None]
        return torch.where(self.uncertainty <= median, self.importance, 0)

    def __getitem__(self, index: int) -> "Relax":
        """Return what was found for one image of a batch."""
        return Relax(self.importance[index], self.uncertainty[index], self.stability[index], self.masks[index])


def relax(
    encoder: Encoder, images: Float[Tensor, "*batch color height width"], *, options: RelaxOptions | None = None
) -> Relax:
    """Say which pixels keep the embedding of a preprocessed image, or of each of a batch, what it is.

    All images are seen through the same masks, one forward pass a mask and image; the memory needed does not depend
    on the number of masks. A masked image with a zero embedding counts as a similarity of 0. ``options`` are
    ``RelaxOptions()`` if None.

    Source: Wickstrøm et al., "RELAX: Representation Learning Explainability", 2023, and the code published with it.

    Raises: ``ValueError`` for an image whose embedding is zero or not finite, whose shape the network does not take, or
    that is smaller than half the grid of the masks; ``TypeError`` for what is no encoder, tensor or options.
    """
    expect_encoder(encoder, "encoder, images")
    if options is not None and not isinstance(options, RelaxOptions):
        raise WrongType(f"expected RelaxOptions(...) as options, but got {type(options).__name__}.")
    options, batch = options or RelaxOptions(), as_batch(images, encoder)
    # images that may stop early are masked one by one, so that none waits for another
    groups = batch[None] if options.until_stable is None else batch[:, None]
    found = [_found(encoder, group, options) for group in groups]
    joined = Relax(*(torch.cat([getattr(one, name) for one in found]) for name in Relax.__dataclass_fields__))
    return joined if images.dim() == 4 else joined[0]


def relax_method(options: RelaxOptions | None = None, *, certain: bool = False) -> Method:
    """Make a method of RELAX, or of U-RELAX where ``certain``, to be given to ``explain``.

    It explains no score but the embedding: supports and target change nothing. The cells are the pixels of the image,
    importances in [-1, 1], and the saliency is rescaled to [0, 1]. It has no contributions. ``options`` are
    ``RelaxOptions()`` if None.
    """
    return Method(
        partial(_attribute, options=options, certain=certain),
        attribute_supports,
        saliency,
        uses_supports=False,
        perturbs=True,
        name="u-relax" if certain else "relax",
    )


def _attribute(question: Question, options: RelaxOptions | None, certain: bool) -> Attribution:
    pixels = pixels_of(question)
    found = relax(pixels.encoder, pixels.images, options=options)
    cells = found.certain_importance if certain else found.importance
    undefined = question.undefined
    return Attribution(undefined, cells.to(question.query.maps), undefined[..., 0])


def saliency(cells: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch height width"]:
    """Rescale to [0, 1]: the least important pixel is 0."""
    return min_max_map(upsample(cells, size))


def _found(encoder: Encoder, images: Float[Tensor, "image color height width"], options: RelaxOptions) -> Relax:
    whole, channels = _whole(encoder, images, options.batch_size)
    count = options.masks or (channels if options.variant == "lafam" else MASKS)
    parts = _parts(count, at_once=max(1, options.batch_size // len(images)))
    here = images.to(whole.device)
    for total in accumulate((_under_masks(encoder, here, whole, numbers, options) for numbers in parts), add):
        if _is_enough(total, options.until_stable):
            break
    joined, used = total.joined, torch.full((len(images),), total.masks)
    return Relax(joined.mean.cpu(), joined.spread.cpu(), total.stability.cpu(), used)


def _whole(
    encoder: Encoder, images: Float[Tensor, "image color height width"], batch_size: int
) -> tuple[Float[Tensor, "image embedding"], int]:
    """Embed the whole images in float64, and count the channels of their maps."""
    features = [encoder(part) for part in images.split(batch_size)]
    embeddings = torch.cat([part.embedding.double() for part in features])
    if not bool((torch.isfinite(embeddings).all(dim=-1) & ~is_zero(embeddings)).all()):
        raise Mistake("an image has a zero or infinite embedding, which has no cosine similarity; use another one.")
    return embeddings, features[0].maps.shape[1]


def _parts(count: int, at_once: int) -> Iterator[range]:
    """Cut the masks' numbers into forward passes, so that every check falls between two of them."""
    for block in ranges(count, MASKS_BETWEEN_CHECKS):
        yield from (block[part.start : part.stop] for part in ranges(len(block), at_once))


def _under_masks(
    encoder: Encoder,
    images: Float[Tensor, "image color height width"],
    whole: Float[Tensor, "image embedding"],
    numbers: range,
    options: RelaxOptions,
) -> SplitSums:
    """Compare the images under the masks of these numbers with the whole ones."""
    size = (images.shape[-2], images.shape[-1])
    masks = random_masks(numbers, size, options.grid, options.keep, options.seed, options.variant).to(whole.device)
    masked = masked_embeddings(encoder, images, masks[:, None], options.batch_size)
    similarities = (direction(masked) * direction(whole)).sum(dim=-1)
    return split_sums(similarities, masks, numbers, OF_THE_WHOLE_IMAGE)


def _is_enough(total: SplitSums, until_stable: float | None) -> bool:
    if until_stable is None or total.masks % MASKS_BETWEEN_CHECKS:
        return False
    return bool((total.stability >= until_stable).all())


RELAX = relax_method()
U_RELAX = relax_method(certain=True)
