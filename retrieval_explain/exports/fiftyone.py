"""A bank as a FiftyOne data set (Moore, Corso 2020), and an inspection as a view of it.

FiftyOne is imported when it is asked for, and keeps its data sets in a MongoDB of its own.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from episodes.errors import MissingPackage, Mistake, WrongType
from episodes.geometry import Geometry, known_geometry
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.image_batch import picture
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.inspection.inspected import Inspection
from retrieval_explain.memory_bank import MemoryBank

ROW, LABEL, QUERY = "bank_row", "ground_truth", "query"
LONGEST_SIDE = 512  # of a map, which FiftyOne stretches over its image
WRITTEN = ("rank", "similarity", "map", "margin")


def fiftyone_dataset(bank: MemoryBank, *, name: str | None = None, overwrite: bool = False) -> Any:
    """Return a new FiftyOne data set with one sample for each row of a bank, in the bank's order.

    ``bank_row`` and ``bank_id`` say which row a sample is, ``ground_truth`` its class where it has one. FiftyOne
    forgets the data set with the session unless ``dataset.persistent = True``. It chooses a ``name`` itself if None;
    ``overwrite`` replaces a data set of that name.

    Raises: ``ValueError`` for images without a file, or a name that is taken; ``ImportError`` without FiftyOne.
    """
    fiftyone = _fiftyone()
    without = sum(not path for path in bank.paths)
    if without:
        raise Mistake(
            f"expected a path for every image of the bank, but {without} of {len(bank)} have none; "
            "write the images to files and build the bank of them."
        )
    if name is not None and not overwrite and fiftyone.dataset_exists(name):
        raise Mistake(f"expected a new name, but FiftyOne has a data set {name!r}; choose another or overwrite it.")
    dataset = fiftyone.Dataset(name, overwrite=overwrite)
    for field, kind in ((ROW, fiftyone.IntField), ("bank_id", fiftyone.IntField)):
        dataset.add_sample_field(field, kind)
    rows = zip(bank.paths, bank.labels.tolist(), bank.ids.tolist(), strict=True)
    samples = []
    for row, (path, label, identity) in enumerate(rows):
        known = {} if label < 0 else {LABEL: fiftyone.Classification(label=class_name(bank, label))}
        samples.append(fiftyone.Sample(filepath=_absolute(path), **{ROW: row, "bank_id": identity}, **known))
    dataset.add_samples(samples, progress=False)
    return dataset


def fiftyone_view(
    dataset: Any,
    inspection: Inspection,
    query: str | Path,
    *,
    prefix: str = "why",
    resize: int | tuple[int, int] | None = None,
    crop: int | tuple[int, int] | None = None,
) -> Any:
    """Write an inspection into a data set of its bank; return the view of the query and its neighbors, nearest first.

    ``dataset`` is what ``fiftyone_dataset`` returned, ``query`` the path of the photograph that was searched for. A
    neighbor gets ``why_rank`` and ``why_similarity``, and where it was explained ``why_map``, the share of each of its
    cells in that similarity. The query, a sample tagged "query" that is added where it is none yet, gets ``why_map``,
    its own cells' shares in the similarity to the first explained neighbor, and ``why_margin``, those in the first
    one's lead over the second. Maps are signed, positive where a cell speaks for the match, and 0 where the
    preprocessing cut the photograph. What an earlier call wrote under the same ``prefix`` is cleared. ``resize`` and
    ``crop`` are as in ``Explanation.saliency_on``.

    Raises: ``TypeError`` for anything but one inspection; ``ValueError`` for another bank's data set, a query that
    cannot be read, or a preprocessing whose geometry is not known; ``ImportError`` without FiftyOne.
    """
    if not isinstance(inspection, Inspection):
        what = "give several one by one, each under a prefix of its own, and what a search found to inspect_neighbors"
        raise WrongType(f"expected one Inspection, but got {type(inspection).__name__}; {what}.")
    fiftyone = _fiftyone()
    geometry = known_geometry(inspection.retrieved.encoder.geometry, resize, crop)
    rows = [int(row) for row in inspection.retrieved.neighbors.indices]
    _expect_own(dataset, inspection.retrieved.bank, rows)
    _clear(dataset, prefix)
    _rank(fiftyone, dataset, inspection, prefix)
    neighbors = {sample[ROW]: sample for sample in dataset.select_by(ROW, rows)}
    for pair in inspection.pairs:
        photograph = pair.shown.photograph
        assert photograph is not None  # only images that could be read are explained
        cells = _enlarged(pair.explanation, int(pair.explanation.target))
        sample = neighbors[pair.shown.row]
        sample[f"{prefix}_map"] = _heatmap(fiftyone, cells, geometry, (photograph.height, photograph.width))
        sample.save()
    asked = _query(fiftyone, dataset, inspection, Path(query), prefix, geometry)
    order = [asked.id, *(neighbors[row].id for row in rows if neighbors[row].id != asked.id)]
    return dataset.select(order, ordered=True)


def _query(fiftyone: Any, dataset: Any, inspection: Inspection, path: Path, prefix: str, geometry: Geometry) -> Any:
    photograph = picture(path, "the query")
    size = (photograph.height, photograph.width)
    found = dataset.match(fiftyone.ViewField("filepath") == _absolute(path))
    if not len(found):
        dataset.add_sample(fiftyone.Sample(filepath=_absolute(path)))
    sample = dataset.one(fiftyone.ViewField("filepath") == _absolute(path))
    sample.tags = [*(tag for tag in sample.tags if tag != QUERY), QUERY]
    drawn = {"map": inspection.pairs[0].explanation if inspection.pairs else None, "margin": inspection.margin}
    for name, explanation in drawn.items():
        if explanation is not None:
            sample[f"{prefix}_{name}"] = _heatmap(fiftyone, explanation.saliency, geometry, size)
    sample.save()
    return sample


def _rank(fiftyone: Any, dataset: Any, inspection: Inspection, prefix: str) -> None:
    """Write ranks and similarities of all neighbors that were found."""
    neighbors = inspection.retrieved.neighbors
    rows = [int(row) for row in neighbors.indices]
    for field, kind, values in (
        ("rank", fiftyone.IntField, range(1, len(rows) + 1)),
        ("similarity", fiftyone.FloatField, neighbors.similarities.tolist()),
    ):
        dataset.add_sample_field(f"{prefix}_{field}", kind)
        dataset.set_values(f"{prefix}_{field}", dict(zip(rows, values, strict=True)), key_field=ROW)


def _expect_own(dataset: Any, bank: MemoryBank, rows: Sequence[int]) -> None:
    schema = dataset.get_field_schema()
    paths = dict(zip(*dataset.select_by(ROW, rows).values([ROW, "filepath"]), strict=True)) if ROW in schema else {}
    if any(paths.get(row) != _absolute(bank.paths[row]) for row in rows):
        raise Mistake(
            f"expected a data set of this bank, but {dataset.name} has not its rows; make one with fiftyone_dataset."
        )


def _clear(dataset: Any, prefix: str) -> None:
    """Take away what an earlier inspection wrote."""
    dataset.match_tags(QUERY).untag_samples(QUERY)
    written = [f"{prefix}_{name}" for name in WRITTEN]
    there = [field for field in written if field in dataset.get_field_schema()]
    if there:
        dataset.clear_sample_fields(there)


def _enlarged(explanation: Explanation, target: int) -> Float[Tensor, "height width"]:
    """Return the neighbor's cells in the size of its preprocessed image."""
    images = explanation.support_images
    assert images is not None
    cells = explanation.support_cells[target, 0]
    return F.interpolate(cells[None, None].float(), size=tuple(images.shape[-2:]), mode="bilinear")[0, 0]


def _heatmap(fiftyone: Any, saliency: Float[Tensor, "height width"], geometry: Geometry, size: tuple[int, int]) -> Any:
    """Return a map over the whole photograph of ``size`` (height, width), no longer than FiftyOne needs it."""
    shrunk = min(1.0, LONGEST_SIDE / max(size))
    drawn = (max(1, round(size[0] * shrunk)), max(1, round(size[1] * shrunk)))
    values = geometry.back(saliency.float(), drawn).nan_to_num()
    limit = float(values.abs().max()) or 1.0
    return fiftyone.Heatmap(map=values.numpy(), range=[-limit, limit])


def _absolute(path: str | Path) -> str:
    return str(Path(path).absolute())


def _fiftyone() -> Any:
    try:
        return importlib.import_module("fiftyone")
    except ImportError as error:
        raise MissingPackage(f"FiftyOne cannot be imported ({error}); pip install fiftyone") from error
