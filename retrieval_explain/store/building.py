"""From images to a bank that is kept: embedded batch by batch, and resumed at the first image that is not there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from episodes import LabeledImages
from episodes.contents import contents_of
from episodes.errors import Busy, Mistake
from fsl_explain.batches import check_batch_size
from fsl_explain.encoder import Encoder
from fsl_explain.engine import LOCAL, EngineChoice, engine_for
from fsl_explain.progress import Report, silent
from retrieval_explain.store.bank_rows import rows_table
from retrieval_explain.store.data_sets import as_images
from retrieval_explain.store.embedding import STAGE, embedded, embedded_together, embedding_channels
from retrieval_explain.store.encoder_fingerprint import described, expect_encoder, preprocessing_text
from retrieval_explain.store.growing import Grown, compared
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.manifest import LABELS, NAMES
from retrieval_explain.store.row_changes import Change, Existing, appended, updated
from retrieval_explain.store.several_labels import warn_of_several_labels
from retrieval_explain.store.stores import Place, Store, as_store

LISTED = ["id", "label", "path"]  # what a data set says of its images before one is read


def build_on_disk(
    encoder: Encoder,
    dataset: LabeledImages | str | Path,
    directory: Place,
    similarity: str = "cosine",
    dtype: str = "float32",
    batch_size: int = 16,
    resume: bool = False,
    report: Report = silent,
    engine: EngineChoice = LOCAL,
) -> None:
    """Embed every image of a data set into a bank in a folder or another store, in place of the bank that is there.

    Memory is that of a few batches. What an interrupted build has kept is taken over with ``resume``, where its
    images are what they were; the bank that was there stays until the new one is whole. Ids are positions in the data
    set.

    An ``engine`` with workers has them embed; what it does is written here, in order.

    Raises: ``ValueError`` for an unfinished build of another encoder or data set or of photographs that were replaced
    since, for an image that cannot be read, and for one without a similarity, naming its path; ``OSError`` when the
    disk is full.
    """
    check_batch_size(batch_size)
    engine_for(engine, None, "")  # a mistake shows before images are read
    images = as_images(dataset)
    _check_data_set(images)
    channels = embedding_channels(encoder, images)
    expected = _entries(images)
    settings = Settings(channels, dtype, similarity, described(encoder), preprocessing_text(encoder))
    store = as_store(directory)
    with store.writer(settings, resume, len(images)) as writer:
        _check_kept(writer.kept_rows(), expected, store, images)
        report(STAGE, writer.rows, len(images))
        for embeddings in embedded(encoder, images, writer.rows, batch_size, None, engine):
            part = expected.slice(writer.rows, len(embeddings))
            contents = contents_of(images, part["id"].to_pylist())
            texts = (part["label"].to_pylist(), part["path"].to_pylist(), contents)
            writer.add(embeddings.numpy(), part["id"].to_numpy(), *texts)
            report(STAGE, len(embeddings), len(images))
        writer.notes = {LABELS: NAMES}
    warn_of_several_labels(store.existing().table, images)


def append_images(
    encoder: Encoder,
    dataset: LabeledImages | str | Path,
    directory: Place,
    batch_size: int = 16,
    report: Report = silent,
    engine: EngineChoice = LOCAL,
) -> Grown:
    """Add the images of a data set that a bank has not; ids go on from its largest. Return what was done.

    An image is known by its file, however its path is spelled. A photograph that was replaced is embedded again in its
    row, and one whose file was moved gets its new path; both keep their ids and labels.

    Raises: ``ValueError`` for a bank of another encoder or preprocessing, otherwise as ``build_on_disk``; the bank
    stays as it was.
    """
    check_batch_size(batch_size)
    engine_for(engine, None, "")  # a mistake shows before images are read
    images = as_images(dataset)
    _check_data_set(images)
    store = as_store(directory)
    there = store.existing()
    expect_encoder(encoder, there.encoder, there.preprocessing, there.channels)
    grown = compared(there.table, images, label_names(images))
    change = grown_by(encoder, images, grown, batch_size, report, engine)

    def unless_changed(bank: Existing) -> Change:
        if not bank.table.equals(there.table):
            raise Busy(f"the bank {store} was changed while images were embedded for it; append them again.")
        return change(bank)

    store.change(unless_changed)
    return grown


def grown_by(
    encoder: Encoder,
    dataset: LabeledImages,
    grown: Grown,
    batch_size: int,
    report: Report,
    engine: EngineChoice = LOCAL,
) -> Callable[[Existing], Change]:
    """Embed what is new or was replaced, and return the change of the bank that ``grown`` was found for."""
    found = embedded_together(encoder, dataset, batch_size, report, engine, grown.embedded)
    labels, paths = label_names(dataset), path_texts(dataset)

    def change(bank: Existing) -> Change:
        values = found.numpy() if len(found) else np.empty((0, bank.channels), np.float32)
        again = [row for _, row in grown.replaced]
        moved = [row for _, row in grown.moved]
        made = updated(
            bank,
            bank.ids[again],
            values[len(grown.new) :],
            contents=[grown.contents[position] for position, _ in grown.replaced],
        )
        after = replace(bank, table=made.table)
        made_paths = updated(after, bank.ids[moved], paths=[paths[position] for position, _ in grown.moved])
        after = replace(bank, table=made_paths.table)
        texts = ([of[position] for position in grown.new] for of in (labels, paths, grown.contents))
        added = appended(after, values[: len(grown.new)], None, *texts)
        is_nothing = not (grown.new or grown.replaced or grown.moved)
        return replace(added, replaced=made.replaced, replacements=made.replacements, is_nothing=is_nothing)

    return change


def label_names(dataset: LabeledImages) -> list[str | None]:
    """Return the class name of every image; None for an unlabeled one."""
    return [dataset.classes[label] if label >= 0 else None for label in dataset.labels.tolist()]


def path_texts(dataset: LabeledImages) -> list[str | None]:
    """Return the path of every image as text; None for an image that has no file."""
    return [None if path is None else str(path) for path in dataset.paths]


def _entries(dataset: LabeledImages) -> pa.Table:
    return rows_table(len(dataset), np.arange(len(dataset)), label_names(dataset), path_texts(dataset))


def _check_data_set(dataset: LabeledImages) -> None:
    if not len(dataset):
        raise Mistake("expected a data set of at least one image, but it is empty; check its folder.")


def _check_kept(kept: pa.Table, expected: pa.Table, store: Store, dataset: LabeledImages) -> None:
    """Refuse to go on with a build whose kept rows are not the data set's first ones, or not as they are now."""
    begun = expected.slice(0, len(kept))
    if kept.select(LISTED).equals(begun.select(LISTED)):
        _check_contents(kept, contents_of(dataset, range(len(kept))), store)
        return
    same = [
        pc.equal(kept[name].slice(0, len(begun)).fill_null(""), begun[name].fill_null("")) for name in ("label", "path")
    ]
    first = min((place for column in same if (place := pc.index(column, False).as_py()) >= 0), default=len(begun))
    theirs, ours = (_named(table, first) for table in (kept, begun))
    raise Mistake(
        f"the unfinished build in {store} has {theirs} as image {first}, but the data set has {ours}; "
        "go on with the data set it was begun with or build the bank again without resuming."
    )


def _check_contents(kept: pa.Table, contents: Sequence[str], store: Store) -> None:
    """Refuse to go on with a build whose photographs were replaced. Raises: ``ValueError`` naming the first."""
    pairs = enumerate(zip(kept["content"].to_pylist(), contents, strict=True))
    changed = [row for row, (held, holds) in pairs if held != holds]
    if changed:
        raise Mistake(
            f"{len(changed)} of {len(kept)} images that the unfinished build in {store} has embedded have changed "
            f"since, first {_named(kept, changed[0])}; build the bank again without resuming."
        )


def _named(table: pa.Table, row: int) -> str:
    if row >= len(table):
        return "none"
    path, label = table["path"][row].as_py(), table["label"][row].as_py()
    return (path or f"an image without a file, id {table['id'][row].as_py()},") + (
        f" of class {label}" if label else ""
    )
