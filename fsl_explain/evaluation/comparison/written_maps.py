"""The raw maps of a comparison, written while its parts come in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int64
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.engine import Part, Result
from fsl_explain.evaluation.results.saved_maps import MapsFolder

Results = Iterator[tuple[int, Result]]
Taken = Callable[[Results, Sequence[Part]], Results]


@contextmanager
def maps_written(
    folder: Path | None,
    dataset: LabeledImages,
    queries: Int[Tensor, "query"],
    predicted: Int[Tensor, "query"] | None = None,
) -> Iterator[Taken]:
    """Give the block what takes the maps out of results and writes them; the index is written when it ends well.

    Without a folder results stay as they are.
    """
    if folder is None:
        yield lambda results, _: results
        return
    written = MapsFolder(folder)

    def taken(results: Results, parts: Sequence[Part]) -> Results:
        return ((position, written.take(parts[position].name, result)) for position, result in results)

    def about(numbers: Int64[np.ndarray, "map"]) -> dict[str, Any]:
        images = queries.numpy()[numbers]
        paths = [dataset.paths[image] for image in images.tolist()]
        columns: dict[str, Any] = {
            "query": numbers,
            "image": images,
            "path": [None if path is None else str(path) for path in paths],
            "class": [dataset.classes[label] for label in dataset.labels[images].tolist()],
        }
        if predicted is None:
            return columns
        return columns | {"predicted": [dataset.classes[label] for label in predicted[numbers].tolist()]}

    yield taken
    written.finish(about)
