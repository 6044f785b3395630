"""Images whose classes and boxes stand in one CSV file."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from episodes.annotation import checked_boxes
from episodes.errors import MissingFile, Mistake
from episodes.labeled_image import LabeledImage, read_image
from episodes.text_files import read_table

EDGES = ("xmin", "ymin", "xmax", "ymax")

Box = tuple[float, float, float, float]


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
            ImageNet, rather than its edge.

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
    ) -> None:
        rows = _rows(Path(root) / table, file, label, extra=1.0 if inclusive else 0.0)
        self.name = Path(root).resolve().name
        self.classes = tuple(sorted({row.class_name for row in rows.values()}))
        label_of = {class_name: index for index, class_name in enumerate(self.classes)}
        self.labels: Int64[np.ndarray, "image"] = np.array(
            [label_of[row.class_name] for row in rows.values()], np.int64
        )
        self.paths = tuple(Path(root) / images / name for name in rows)
        self._boxes = [row.boxes for row in rows.values()]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int, /) -> LabeledImage:
        path, label = self.paths[position], int(self.labels[position])
        image = read_image(path, upright=False)
        boxes = checked_boxes(torch.tensor(self._boxes[position]), (image.height, image.width), str(path))
        return LabeledImage(image, label, self.classes[label], boxes=boxes, path=path)


def _rows(path: Path, file: str, label: str, extra: float) -> dict[str, _Row]:
    """Return class and boxes by file name; ``extra`` pixels are added to xmax and ymax."""
    if not path.is_file():
        raise MissingFile(f"the table {path} does not exist; check the path.")
    rows: dict[str, _Row] = {}
    for number, line in read_table(path, (file, label, *EDGES)):
        if not line[file] or not line[label]:
            raise Mistake(f"{path}, line {number}: expected a {file} and a {label}, but one is empty; fill it in.")
        row = rows.setdefault(line[file], _Row(line[label]))
        if row.class_name != line[label]:
            raise Mistake(
                f"{path}, line {number}: {line[file]} is {line[label]!r} here "
                f"and {row.class_name!r} above; the boxes of one image must agree on its class."
            )
        row.boxes.append(_box(line, f"{path}, line {number}", extra))
    if not rows:
        raise Mistake(f"{path} lists no image; add one line per box.")
    return rows


def _box(line: dict[str, str], where: str, extra: float) -> Box:
    try:
        left, top, right, bottom = (float(line[edge]) for edge in EDGES)
    except (TypeError, ValueError):
        got = [line[edge] for edge in EDGES]
        raise Mistake(f"{where}: xmin, ymin, xmax and ymax should be numbers, got {got}; correct the line.") from None
    return left, top, right + extra, bottom + extra
