"""Boxes in Pascal VOC's XML, which ImageNet uses too."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.annotation import checked_boxes
from episodes.errors import MissingFile, Mistake, TooLarge

EDGES = ("xmin", "ymin", "xmax", "ymax")
ENTITY = b"<!ENTITY"
MOST_BYTES = 1 << 24
"""Of an annotation file; the official ones have a few KiB."""
ROUNDING = 1.0
"""Pixels by which two sizes of one picture may differ from a common scale."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class XmlBoxes:
    """The objects of one annotation file: the class and the box of each, and the size they are measured on.

    ``boxes`` are left, top, right, bottom in pixels, half-open. ``size`` is height and width of the
    picture that was annotated, None where the file does not say.
    """

    path: Path
    names: tuple[str, ...]
    boxes: tuple[Box, ...]
    size: tuple[float, float] | None


def read_xml_boxes(path: Path, first_pixel: int = 1) -> XmlBoxes:
    """Read the objects of an annotation file, which includes xmax and ymax.

    ``first_pixel`` is the number of the first pixel of a row: 1 in Pascal VOC, 0 in ImageNet.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no XML, lists no object, or an object lacks its name or an edge.
    """
    if not path.is_file():
        raise MissingFile(f"the annotation {path} does not exist; restore it or leave its image out.")
    root = _parsed(path)
    objects = root.findall("object")
    if not objects:
        raise Mistake(f"{path} lists no object; expected one <object> with name and bndbox per box.")
    names = tuple(_name(node, path) for node in objects)
    boxes = tuple(_box(node, number, path, first_pixel) for number, node in enumerate(objects, start=1))
    return XmlBoxes(path, names, boxes, _size(root, path))


def _parsed(path: Path) -> ElementTree.Element:
    """Return the root of a file. A declared entity is refused: a few can stand for gigabytes."""
    if path.stat().st_size > MOST_BYTES:
        raise TooLarge(f"expected boxes in XML of up to {MOST_BYTES:,} bytes, but {path} has more; restore the file.")
    content = path.read_bytes()
    if ENTITY in content.replace(b"\0", b""):  # in UTF-16 every other byte is 0
        raise Mistake(f"expected boxes in XML, but {path} declares entities; restore the file.")
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the others are of encodings
        raise Mistake(f"{path} is no XML ({error}); restore the file.") from None
    except RecursionError:
        raise Mistake(f"expected boxes in XML, but {path} is nested too deeply; restore the file.") from None


def boxes_on_image(xml: XmlBoxes, names: Collection[str], image_size: tuple[int, int]) -> Float[Tensor, "box 4"]:
    """Return the boxes of the named classes on an image of the given height and width, in the order of the file.

    Boxes that were measured on another size of the same picture are scaled to the image.

    Raises:
        ValueError: the annotated picture has another shape than the image, or a box lies outside it.
    """
    chosen = [box for box, name in zip(xml.boxes, xml.names, strict=True) if name in names]
    boxes = torch.tensor(chosen, dtype=torch.float32).reshape(-1, 4)
    annotated = image_size if xml.size is None else (round(xml.size[0]), round(xml.size[1]))
    # Checked where they were drawn: a pixel over the edge there is several on a larger copy.
    within = checked_boxes(boxes, annotated, str(xml.path)).as_subclass(Tensor)
    return checked_boxes(within * _scale(xml, image_size), image_size, str(xml.path))


def _scale(xml: XmlBoxes, image_size: tuple[int, int]) -> Float[Tensor, "4"]:
    if xml.size is None or xml.size == image_size:
        return torch.ones(4)
    (height, width), (image_height, image_width) = xml.size, image_size
    larger = max(height, width, *image_size)
    # Rounding one side by a pixel moves the product of the sides by the other side's length.
    if abs(height * image_width - width * image_height) > ROUNDING * larger:
        raise Mistake(
            f"{xml.path} was made for a picture of {width:g}x{height:g} pixels, but the image has "
            f"{image_width}x{image_height}; expected the same shape. Restore the two files."
        )
    across, down = image_width / width, image_height / height
    return torch.tensor([across, down, across, down])


def _name(node: ElementTree.Element, path: Path) -> str:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise Mistake(f"{path}: expected a name in every object, but one has none; restore the file.")
    return name


def _box(node: ElementTree.Element, number: int, path: Path, first_pixel: int) -> Box:
    texts = [node.findtext(f"bndbox/{edge}") for edge in EDGES]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        raise Mistake(
            f"{path}: object {number} should have xmin, ymin, xmax and ymax as numbers, but has {texts}; "
            "restore the file."
        ) from None
    return left - first_pixel, top - first_pixel, right + 1 - first_pixel, bottom + 1 - first_pixel


def _size(root: ElementTree.Element, path: Path) -> tuple[float, float] | None:
    try:
        height, width = (float(root.findtext(f"size/{side}") or 0) for side in ("height", "width"))
    except ValueError:
        return None
    if not (math.isfinite(height) and math.isfinite(width)):
        raise Mistake(f"{path}: expected the size of a picture, but got {width:g}x{height:g}; restore the file.")
    return (height, width) if height > 0 and width > 0 else None
