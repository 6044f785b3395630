"""Images whose classes and boxes stand in one CSV file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from episodes.annotation import checked_boxes
from episodes.box_formats import Box, box_columns, check_format, check_plausible, edges_of
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, read_image
from episodes.text_files import read_table


@dataclass(frozen=True)
class _Row:
    class_name: str
    boxes: list[Box] = field(default_factory=list)


class CsvBoxes:
    """Images listed in a CSV file with one line per box: file, class, xmin, ymin, xmax, ymax.

    Several lines with one file are several boxes of that image. Images keep the order in which
    they first appear; classes are sorted by name.

    Args:
        root: folder of the table.
        table: name of the CSV file in it.
        images: folder of the images in it; the file column is relative to this.
        file: column of the file name.
        label: column of the class. Where different classes share a name (ImageNet has two cranes),
            choose the column of their ids.
        inclusive: whether xmax and ymax are the last pixel of the box, as in Pascal VOC and
            ImageNet, rather than its edge. It says nothing of boxes in another format than ``xyxy``.
        box_format: ``xyxy``, the edges in pixels; ``xywh``, left, top, width, height; ``cxcywh``, the center, width,
            height; or one of these with ``relative-`` before it, in shares of the image's width and height. Columns are
            then x, y (or cx, cy), width and height, or the four of the edges. What looks like another format is
            refused.

    Raises:
        FileNotFoundError: the table does not exist.
        LookupError: the table lacks a column.
        ValueError: the table is empty, an edge is not a number, or a file has two classes.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        table: str = "annotations.csv",
        images: str = "images",
        file: str = "file",
        label: str = "class",
        inclusive: bool = True,
        box_format: str = "xyxy",
    ) -> None:
        check_format(box_format)
        self._format = box_format
        rows = _rows(Path(root) / table, file, label, inclusive and box_format == "xyxy", box_format)
        self.name: str = Path(root).resolve().name
        self.classes: tuple[str, ...] = tuple(sorted({row.class_name for row in rows.values()}))
        label_of = {class_name: index for index, class_name in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array(
            [label_of[row.class_name] for row in rows.values()], np.int64
        )
        self.paths: tuple[Path, ...] = tuple(Path(root) / images / name for name in rows)
        self._boxes = [row.boxes for row in rows.values()]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        """Read the image at a position, from 0. Raises: ``ValueError`` for a file that cannot be read."""
        path, label = self.paths[position], int(self.labels[position])
        image = read_image(path, upright=False)
        size = (image.height, image.width)
        edges = [edges_of(box, self._format, size) for box in self._boxes[position]]
        boxes = checked_boxes(torch.tensor(edges), size, str(path))
        return LabeledImage(image, label, self.classes[label], boxes=boxes, path=path)


def _rows(path: Path, file: str, label: str, inclusive: bool, box_format: str) -> dict[str, _Row]:
    """Return class and boxes by file name; where they are inclusive, a pixel is added to xmax and ymax."""
    if not path.is_file():
        raise MissingFile(f"the table {path} does not exist; check the path.")
    edges = box_columns(path, box_format)
    rows: dict[str, _Row] = {}
    for number, line in read_table(path, (file, label, *edges)):
        if not line[file] or not line[label]:
            raise Mistake(f"{path}, line {number}: expected a {file} and a {label}, but one is empty; fill it in.")
        row = rows.setdefault(line[file], _Row(line[label]))
        if row.class_name != line[label]:
            raise Mistake(
                f"{path}, line {number}: {line[file]} is {line[label]!r} here "
                f"and {row.class_name!r} above; the boxes of one image must agree on its class."
            )
        row.boxes.append(_box(line, edges, f"{path}, line {number}", inclusive, box_format))
    if not rows:
        raise Mistake(f"{path} lists no image; add one line per box.")
    return rows


def _box(line: dict[str, str], edges: Sequence[str], where: str, inclusive: bool, box_format: str) -> Box:
    try:
        first, second, third, fourth = (float(line[edge]) for edge in edges)
    except (TypeError, ValueError):
        got, names = [line[edge] for edge in edges], f"{', '.join(edges[:3])} and {edges[3]}"
        raise Mistake(f"{where}: {names} should be numbers, got {got}; correct the line.") from None
    check_plausible((first, second, third, fourth), box_format, where)
    return first, second, third + inclusive, fourth + inclusive
