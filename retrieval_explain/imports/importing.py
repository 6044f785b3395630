"""Banks of embeddings that other software has made: files of theirs become a bank of ours."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from episodes.errors import Mistake
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import Similarity, similarity_name
from retrieval_explain.imports.embedding_sources import EmbeddingSource, Piece, open_source
from retrieval_explain.imports.image_lists import ImageList, read_image_list
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.places import Place, store_at
from retrieval_explain.store.given_labels import as_labels
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.manifest import LABELS, NAMES, NUMBERS
from retrieval_explain.store.similarity_names import storable_name

STAGE = "import"


def import_embeddings(
    file: str | Path,
    directory: Place | None = None,
    labels: Sequence[str] | Sequence[int] | None = None,
    images: str | Path | None = None,
    layout: str = "auto",
    key: str | None = None,
    similarity: str | Similarity = "cosine",
    dtype: str = "float32",
    encoder: str = "",
    report: Report = silent,
) -> MemoryBank:
    """Make a bank of the embeddings in a file: in memory, or in a folder or on a server piece by piece.

    A file is ``.npy``, Parquet, ``.safetensors`` or PyTorch's, with a row, or in MoCo's queue a column, for each image.

    ``images`` says which images they are: a text file with one image a line, or the folder of class folders whose
    sorted order they have. ``labels`` stand above those of the images, and both above the file's own. ``layout`` and
    ``key`` are those of ``embedding_sources.open_source``. ``similarity`` is what the bank is searched by, ``encoder``
    a text about what made the embeddings; ``dtype``, float32 or float16, is that of a ``directory``. ``report`` is told
    the stage, the embeddings read since its last call, and all.

    Raises: ``ValueError`` for a file that cannot be used, another number of images than embeddings, or rows without
    a similarity; ``LookupError`` for an unknown similarity, layout or key; ``FileNotFoundError``.
    """
    similarity = similarity_name(similarity) or similarity
    source = open_source(file, layout, key)
    listed = None if images is None else read_image_list(images)
    given = None if labels is None else _as_list(labels)
    _check_numbers(source, Path(file), listed, given, str(images))
    numbered = (given or listed or source).numbered
    pieces = _described(source, listed, given)
    if directory is None:
        return _in_memory(source, pieces, numbered, similarity, encoder, report)
    store = store_at(directory)
    settings = Settings(source.channels, dtype, storable_name(similarity), encoder, "")
    with store.writer(settings, False, source.rows) as writer:
        for piece in pieces:
            if numbered:
                as_labels([None if label is None else int(label) for label in piece.labels or ()])
            writer.add(piece.embeddings, piece.ids, piece.labels, piece.paths)
            report(STAGE, len(piece.embeddings), source.rows)
        writer.notes = {LABELS: NUMBERS if numbered else NAMES}
    return MemoryBank.open(store)


def _in_memory(
    source: EmbeddingSource,
    pieces: Iterator[Piece],
    numbered: bool,
    similarity: str | Similarity,
    encoder: str,
    report: Report,
) -> MemoryBank:
    embeddings = np.empty((source.rows, source.channels), np.float32)
    ids: list[int] = []
    labels: list[str | None] = []
    paths: list[str | None] = []
    done = 0
    for piece in pieces:
        count = len(piece.embeddings)
        embeddings[done : done + count] = piece.embeddings
        ids += range(done, done + count) if piece.ids is None else piece.ids.tolist()
        labels += piece.labels or [None] * count
        paths += piece.paths or [None] * count
        done += count
        report(STAGE, count, source.rows)
    told = [None if label is None else int(label) for label in labels] if numbered else labels
    return MemoryBank.from_embeddings(
        torch.from_numpy(embeddings), labels=told, paths=paths, similarity=similarity, encoder=encoder, ids=ids
    )


def _described(source: EmbeddingSource, listed: ImageList | None, given: ImageList | None) -> Iterator[Piece]:
    """Yield the source's pieces with the labels and paths that stand above its own."""
    done = 0
    for piece in source.pieces():
        part = slice(done, done + len(piece.embeddings))
        labels = (given or listed or ImageList([], [], False)).labels[part] or piece.labels
        yield replace(piece, labels=labels, paths=list(listed.paths[part]) if listed else piece.paths)
        done = part.stop


def _check_numbers(
    source: EmbeddingSource, file: Path, listed: ImageList | None, given: ImageList | None, images: str
) -> None:
    told = {f"{images} lists": listed and len(listed.labels), "the labels are": given and len(given.labels)}
    for what, count in told.items():
        if isinstance(count, int) and count != source.rows:
            turned = " with the layout columns" if count == source.channels else ""
            raise Mistake(
                f"expected one image for each of the {source.rows} embeddings of {file}, but {what} {count}; "
                f"give the list that they were made from{turned}."
            )


def _as_list(labels: Sequence[str] | Sequence[int]) -> ImageList:
    given = as_labels(labels)
    numbered = not any(isinstance(label, str) for label in given)
    return ImageList([], [None if label is None else str(label) for label in given], numbered)
