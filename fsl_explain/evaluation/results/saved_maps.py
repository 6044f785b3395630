"""Raw maps of an evaluation beside its results: safetensors files, and an index from each map to its query and method.

A file holds, for each method, ``METHOD cells`` (float16, divided by ``METHOD scale``) and ``METHOD saliency``
(float16, at the size of the image). The index, ``index.parquet``, has one row for each map and is written last.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Int, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import MissingFile, Mistake
from episodes.naming import unknown_name
from episodes.position import position
from fsl_explain.engine import Part, Result
from fsl_explain.evaluation.kept_maps import CELLS, QUERIES, SALIENCY, SCALE, parted
from fsl_explain.files import written_aside

MAPS, INDEX, ENDING = "maps", "index.parquet", ".safetensors"
METHOD, FILE, ROW = "method", "file", "row"
Results = Iterator[tuple[int, Result]]
Taken = Callable[[Results, Sequence[Part]], Results]
About = Callable[[Int64[np.ndarray, "map"]], Mapping[str, Any]]


class MapsFolder:
    """The maps of a run that is going on, part by part; a part that is written again replaces itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[str, list[tuple[str, Int64[np.ndarray, "map"]]]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INDEX).unlink(missing_ok=True)

    def take(self, name: str, result: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Write the maps among the results of a part, and return the others."""
        rest, maps = parted(result)
        methods = [key.removesuffix(f" {QUERIES}") for key in maps if key.endswith(f" {QUERIES}")]
        if methods:
            stored = {key: values.contiguous() for key, values in maps.items() if not key.endswith(f" {QUERIES}")}
            name = re.sub(r"[^a-zA-Z0-9.+_-]", "_", name)
            with written_aside(self.folder / f"{name}{ENDING}") as aside:
                save_file(stored, aside)
            self._rows[name] = [(method, maps[f"{method} {QUERIES}"].numpy()) for method in methods]
        return rest

    def finish(self, about: About) -> None:
        """Write the index; ``about`` says of queries, by their number, what stands there in columns.

        Files of another run are removed.
        """
        found = [(method, name, queries) for name, of in sorted(self._rows.items()) for method, queries in of]
        numbers = np.concatenate([np.zeros(0, np.int64), *(queries for _, _, queries in found)])
        columns: dict[str, Any] = {
            METHOD: [method for method, _, queries in found for _ in queries],
            **about(numbers),
            FILE: [f"{name}{ENDING}" for _, name, queries in found for _ in queries],
            ROW: np.concatenate([np.zeros(0, np.int64), *(np.arange(len(queries)) for _, _, queries in found)]),
        }
        for file in self.folder.glob(f"*{ENDING}"):
            if file.name.removesuffix(ENDING) not in self._rows:
                file.unlink()
        with written_aside(self.folder / INDEX) as aside:
            pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), aside)


@contextmanager
def maps_written(folder: Path | None, about: About) -> Iterator[Taken]:
    """Give the block what takes the maps out of results and writes them; the index is written when it ends well.

    Without a folder results stay as they are.
    """
    if folder is None:
        yield lambda results, _: results
        return
    written = MapsFolder(folder)
    yield lambda results, parts: ((place, written.take(parts[place].name, result)) for place, result in results)
    written.finish(about)


def remove_maps(folder: Path) -> None:
    """Remove the maps of an earlier run and their index, and nothing else that lies there; none is fine.

    Raises: as ``load_maps`` for an index that is damaged.
    """
    index = folder / INDEX
    if not index.is_file():
        return
    names = load_maps(folder.parent).index[FILE].to_pylist()
    for name in dict.fromkeys(names):
        (folder / Path(name).name).unlink(missing_ok=True)
    index.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def about_images(
    dataset: LabeledImages,
    queries: Int[Tensor, "query"],
    predicted: Sequence[str] | None,
    numbers: Int64[np.ndarray, "map"],
) -> dict[str, Any]:
    """Return what is known of queries, data set indices with the classes that were predicted for them, as columns."""
    images = queries.numpy()[numbers]
    paths = [dataset.paths[image] for image in images.tolist()]
    columns: dict[str, Any] = {
        "query": numbers,
        "image": images,
        "path": [None if path is None else str(path) for path in paths],
        "class": [dataset.classes[label] for label in dataset.labels[images].tolist()],
    }
    if predicted is not None:
        columns["predicted"] = [predicted[number] for number in numbers.tolist()]
    return columns


@dataclass(frozen=True)
class SavedMap:
    """One map: what the index says of it, and its values in float32.

    ``facts`` are its entries in the index by column, such as method, query, image and path. ``cells`` are as the method
    made them, before upsampling; ``saliency`` has the size of the preprocessed image, as it was measured. Both were
    rounded to float16.
    """

    facts: Mapping[str, Any]
    cells: Float[Tensor, "h w"]
    saliency: Float[Tensor, "height width"]


@dataclass(frozen=True)
class SavedMaps:
    """The maps of an evaluation; each is read when it is asked for, from the files in ``folder``.

    ``index`` has one row for each, with columns such as method, episode, query, path, class and predicted.
    """

    folder: Path
    index: pa.Table

    def __len__(self) -> int:
        return int(self.index.num_rows)

    def __getitem__(self, place: int, /) -> SavedMap:
        """Read the map of a row of the index; a negative one counts from the end.

        Raises: ``IndexError`` for a row that is not there; ``TypeError`` for what is no number; ``ValueError`` for a
        file that is gone or damaged.
        """
        place = position(place, "the number of one map")
        if not -len(self) <= place < len(self):
            raise IndexError(f"expected one of {len(self)} maps, but got {place}.")
        facts = self.index.slice(place % len(self), 1).to_pylist()[0]
        file, row = self.folder / Path(str(facts.pop(FILE))).name, facts.pop(ROW)
        try:
            with safe_open(file, "pt") as tensors:
                values = {
                    what: tensors.get_slice(f"{facts[METHOD]} {what}")[row : row + 1][0]
                    for what in (CELLS, SCALE, SALIENCY)
                }
        except (SafetensorError, OSError, LookupError, TypeError) as error:
            raise Mistake(f"{file} is gone or damaged; run the evaluation with --save-maps again.") from error
        return SavedMap(facts, (values[CELLS].double() * values[SCALE]).float(), values[SALIENCY].float())

    def __iter__(self) -> Iterator[SavedMap]:
        return (self[place] for place in range(len(self)))

    def where(self, **wanted: Any) -> "SavedMaps":
        """Return the maps whose columns of the index have these values, as in ``where(method="contrast", episode=3)``.

        Raises: ``LookupError`` for a column that is not there; ``ValueError`` for a value of another type.
        """
        found = self.index
        for column, value in wanted.items():
            if column not in found.column_names:
                raise unknown_name("column", column, found.column_names)
            try:
                found = found.filter(pc.equal(found[column], value))
            except pa.ArrowException as error:
                raise Mistake(f"expected a {column} like {found[column].type}, but got {value!r}.") from error
        return SavedMaps(self.folder, found)


def load_maps(folder: str | Path) -> SavedMaps:
    """Open the maps that an evaluation wrote: by its folder of results, or by the folder that ``maps`` named.

    Raises: ``FileNotFoundError`` where there are none, or the evaluation has not finished; ``ValueError`` for an index
    that is damaged.
    """
    path = next((one for one in (Path(folder) / MAPS / INDEX, Path(folder) / INDEX) if one.is_file()), None)
    if path is None:
        raise MissingFile(f"expected maps in {folder}, but there is no {MAPS}/{INDEX}; run it with --save-maps.")
    try:
        index = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise Mistake(f"{path} is no index of maps or is damaged; run the evaluation again.") from error
    for column in (METHOD, FILE, ROW):
        if column not in index.column_names:
            raise Mistake(f"expected a column {column} in {path}, but there is none; run the evaluation again.")
    return SavedMaps(path.parent, index)
