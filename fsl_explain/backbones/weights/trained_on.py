"""Which classes weights were trained on with labels, as the header of their file says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRAINED_ON = "trained_on"  # the key in a manifest
MOST = 4096  # data sets one after another


@dataclass(frozen=True)
class TrainedOn:
    """The classes of a data set whose labels a training used.

    ``data`` is the kind of the data set, ``split`` the name of the split that the classes are a part of, or None.
    """

    data: str
    split: str | None
    classes: tuple[str, ...]


def is_record(value: Any) -> bool:
    """Return whether a value of a manifest is what ``read_record`` reads: nothing but texts in lists."""
    return isinstance(value, list) and len(value) <= MOST and all(map(_is_entry, value))


def read_record(manifest: Mapping[str, Any]) -> tuple[TrainedOn, ...]:
    """Return what a checked manifest says of the classes; nothing for files without it."""
    return tuple(
        TrainedOn(entry["data"], entry["split"], tuple(entry["classes"])) for entry in manifest.get(TRAINED_ON, [])
    )


def _is_entry(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != TrainedOn.__dataclass_fields__.keys():
        return False
    split, classes = value["split"], value["classes"]
    texts_around = isinstance(value["data"], str) and (split is None or isinstance(split, str))
    return texts_around and isinstance(classes, list) and all(isinstance(name, str) for name in classes)
