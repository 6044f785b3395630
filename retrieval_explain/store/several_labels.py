"""Images of a bank that hold the same and have different labels."""

import warnings

import pyarrow as pa
import pyarrow.compute as pc

from episodes import ImageFolder, LabeledImages
from episodes.contents import contents_of
from episodes.reading import whole_of
from episodes.several_classes import MOST_COMPARED, SeveralClasses, several_classes_in_words


def checked_contents(dataset: LabeledImages) -> list[str]:
    """Return what each image of a data set holds, with a warning of those that have several labels."""
    contents = contents_of(dataset, range(len(dataset)))
    labels = [dataset.classes[label] if label >= 0 else None for label in dataset.labels.tolist()]
    paths = [None if path is None else str(path) for path in dataset.paths]
    columns = {"label": labels, "path": paths, "content": contents}
    warn_of_several_labels(pa.table({name: pa.array(one, pa.string()) for name, one in columns.items()}), dataset)
    return contents


def warn_of_several_labels(table: pa.Table, dataset: LabeledImages) -> None:
    """Warn once, with the count and the first pair, of rows that hold what an earlier row of another label holds.

    ``table`` has the columns label, path and content; ``dataset`` is what was embedded. A folder of classes that was
    compared when it was opened has said so already.
    """
    whole = whole_of(dataset)
    if isinstance(whole, ImageFolder) and len(whole) <= MOST_COMPARED:
        return
    known = table.select(["label", "path", "content"]).append_column("row", pa.array(range(len(table))))
    known = known.filter(pc.and_(pc.is_valid(known["label"]), pc.not_equal(pc.fill_null(known["content"], ""), "")))
    counted = known.group_by("content").aggregate([("label", "count_distinct")])
    doubled = counted.filter(pc.greater(counted["label_count_distinct"], 1))["content"]
    first: dict[str, tuple[str, str]] = {}
    later: list[tuple[str, str]] = []
    for row in known.filter(pc.is_in(known["content"], value_set=doubled.combine_chunks())).to_pylist():
        name = row["path"] or f"image {row['row']}"
        label, other = first.setdefault(row["content"], (row["label"], name))
        if label != row["label"]:
            later.append((f"{name} ({row['label']})", f"{other} ({label})"))
    if later:
        warnings.warn(several_classes_in_words(len(later), *later[0]), SeveralClasses, stacklevel=4)
