"""An episode that a user puts together: supports from a folder or given to the page, each with the class they say.

Images are embedded once and kept, so that a support that is moved, taken away or put back is decided upon at once.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
from torch import Tensor

from episodes import ImageFolder, read_image
from episodes.box_formats import Box, whole_pixels
from episodes.errors import Mistake, UnknownName
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.compared import Compared, compare
from fsl_explain.explainers.prompts import text_supports
from fsl_explain.features import joined
from fsl_explain.serve.encoders_by_detail import EncodersByDetail
from fsl_explain.serve.uploads import Uploads
from fsl_explain.similarities import Similarity

KEPT = 400
MOST_SUPPORTS = 400
MOST_CLASSES = 100
LONGEST_NAME = 200
ENCODER = "fsl_explain.Encoder.named(…)"


@dataclass(frozen=True)
class Support:
    """One support: an image by its name on the page, or a text, and the class that it stands for."""

    image: str
    label: str


@dataclass
class SupportFolder:
    """The images of a folder of classes, with those that were given, and the encoder that compares them."""

    encoder: Encoder
    folder: ImageFolder
    uploads: Uploads
    made_by: str = ENCODER  # the Python that makes the encoder
    _kept: OrderedDict[str, Features] = field(default_factory=OrderedDict, repr=False)

    def __post_init__(self) -> None:
        self.encoders: EncodersByDetail = EncodersByDetail(self.encoder)

    def path_of(self, image: str) -> Path:
        """Return the file of an image of the folder. Raises: ``LookupError``."""
        kind, _, number = image.partition(":")
        if kind != "support" or not number.isdecimal() or int(number[:12]) >= len(self.folder):
            raise UnknownName(f"expected support:NUMBER of the folder or upload:HASH, but got {image!r:.80}.")
        return self.folder.paths[int(number)]

    def photograph(self, image: str, box: Box | None = None) -> PIL.Image.Image:
        """Return an image, or the part of it in a box of its pixels. Raises: ``LookupError`` or ``ValueError``."""
        kind, _, name = image.partition(":")
        found = self.uploads.read(name) if kind == "upload" else self._read(image)
        if box is None:
            return found
        left, top, right, bottom = box
        if not (0 <= left < right <= found.width and 0 <= top < bottom <= found.height):
            raise Mistake(f"expected a box inside the image of {found.width}×{found.height} pixels, but got {box}.")
        return found.crop(whole_pixels(box))

    def _read(self, image: str) -> PIL.Image.Image:
        path = self.path_of(image)
        try:
            return read_image(path)
        except Mistake as error:
            raise type(error)(str(error).replace(str(path), path.name)) from error

    def name_of(self, image: str) -> str:
        """Return what an image is called: its file's name, or that it was given."""
        kind, _, name = image.partition(":")
        return {"upload": f"given image {name[:6]}", "text": name}.get(kind) or self.path_of(image).name

    def preprocessed(self, image: str, box: Box | None = None) -> Tensor:
        """Return an image as the encoder takes it."""
        found: Tensor = self.encoder.preprocess([self.photograph(image, box)])[0]
        return found

    def compared(
        self,
        query: str,
        box: Box | None,
        supports: Sequence[Support],
        similarity: str | Similarity,
        detail: int = 0,
        biases: str = "drawn",
    ) -> Compared:
        """Embed what is not embedded yet and set the query beside the supports. Raises: as ``compare``."""
        encoder = self.encoders.at(detail, biases)
        groups = self._texts(supports) or {
            name: self._features(encoder, images, keep=detail == 0) for name, images in by_class(supports).items()
        }
        return compare(encoder, self.preprocessed(query, box), groups, similarity, warn_of_own=False)

    def _texts(self, supports: Sequence[Support]) -> Mapping[str, Any]:
        texts = [one for one in supports if one.image.startswith("text:")]
        if not texts:
            return {}
        if len(texts) < len(supports):
            raise Mistake("expected images or texts as supports, but got both; take either away.")
        prompts = {name: [image[len("text:") :] for image in images] for name, images in by_class(supports).items()}
        return text_supports(self.encoder, prompts)

    def _features(self, encoder: Encoder, images: Sequence[str], *, keep: bool) -> Features:
        missing = [image for image in dict.fromkeys(images) if not keep or image not in self._kept]
        found: dict[str, Features] = {}
        if missing:
            pixels = encoder.preprocess([self.photograph(image) for image in missing])
            features = [encoder.of_supports(pixels[place : place + 1]) for place in range(len(missing))]
            found = dict(zip(missing, features, strict=True))
        if keep:
            self._kept.update(found)
            for image in images:
                self._kept.move_to_end(image)
            found = {image: self._kept[image] for image in images}
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return joined([found[image] for image in images])


def by_class(supports: Sequence[Support]) -> dict[str, list[str]]:
    """Return the images of each class, in the order in which classes and images were named."""
    found: dict[str, list[str]] = {}
    for one in supports:
        found.setdefault(one.label, []).append(one.image)
    return found


def check_supports(supports: Sequence[Support]) -> None:
    """Refuse no supports, too many, names that are none, and an image that stands twice in a class.

    Raises: ``ValueError``.
    """
    groups = by_class(supports)
    if not supports:
        raise Mistake("expected at least one support, but all are taken away; put one back.")
    if len(supports) > MOST_SUPPORTS or len(groups) > MOST_CLASSES:
        raise Mistake(
            f"expected at most {MOST_SUPPORTS} supports of {MOST_CLASSES} classes, but got {len(supports)} of "
            f"{len(groups)}; take some away."
        )
    for name, images in groups.items():
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise Mistake(f"expected a class name of 1 to {LONGEST_NAME} printable letters, but got {name!r:.80}.")
        if len(set(images)) < len(images):
            raise Mistake(f"expected each image once in the class {name}, but one stands there twice; take it away.")


def is_among(query: str, box: Box | None, supports: Sequence[Support]) -> bool:
    """Whether the query is one of its own supports."""
    return box is None and any(one.image == query for one in supports)
