"""A memory bank: embedded images with ids, labels and paths, and the search among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from episodes import LabeledImages
from episodes.naming import unknown_name
from fsl_explain.batches import check_batch_size
from fsl_explain.encoder import Encoder
from fsl_explain.engine import LOCAL, EngineChoice
from fsl_explain.progress import Report, silent
from fsl_explain.scales import compared_at
from fsl_explain.similarities import Similarity, named_similarity, similarity_name
from retrieval_explain.places import Place, store_at
from retrieval_explain.ranking.neighbors import Neighbors, Rows, RowsInMemory, blocks
from retrieval_explain.search.index import build_index, flat, search
from retrieval_explain.search.index_cache import cached
from retrieval_explain.search.recall import USUAL_RECALL, HasOwnIndex, Verified, check_recall, own_index, verify
from retrieval_explain.settings import INDEX_KINDS
from retrieval_explain.store.building import build_on_disk, label_names, path_texts
from retrieval_explain.store.changed_in_memory import as_texts, changed_in_memory
from retrieval_explain.store.copying import copy_to
from retrieval_explain.store.data_sets import as_images
from retrieval_explain.store.embedding import embedded_together
from retrieval_explain.store.encoder_fingerprint import described, expect_encoder, preprocessing_text
from retrieval_explain.store.entries import (
    Entries,
    Labels,
    entries_in_memory,
    with_contents,
)
from retrieval_explain.store.given_rows import (
    Given,
    as_matrix,
    as_queries,
    as_rows,
    check_all_rows,
    check_rows,
    wanted_neighbors,
)
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.row_changes import Change, Existing, appended, deleted, updated
from retrieval_explain.store.row_filter import allowed_rows, own_rows, without_own
from retrieval_explain.store.several_labels import checked_contents
from retrieval_explain.store.similarity_names import recorded_name, storable_name, words_of
from retrieval_explain.store.stored_rows import StoredRows
from retrieval_explain.store.stores import Store


@dataclass(frozen=True)
class MemoryBank:
    """Embeddings of images, one row each. Search is exact unless an index was asked for.

    ``labels`` are the numbers that were given, or indices into ``classes`` where names were; -1 where an image
    has none. ``paths`` holds "" where an image has none. ``similarity`` is a name, or an object that has none.
    """

    rows: Rows  # the embeddings, in memory or mapped from a file
    similarity: str | Similarity
    entries: Entries  # ids, labels, classes and paths of the rows
    encoder: str = ""  # what made the embeddings, with its fingerprint
    preprocessing: str = ""  # how their images were prepared
    verified: Verified | None = None  # None: exact search
    store: Store | None = None  # None: in memory only

    @classmethod
    def from_embeddings(
        cls,
        embeddings: Given,
        labels: Labels | None = None,
        *,
        paths: Sequence[str | Path | None] | None = None,
        similarity: str | Similarity = "cosine",
        encoder: str = "",
        ids: Sequence[int] | Int[Tensor, "row"] | None = None,
        preprocessing: str = "",
    ) -> "MemoryBank":
        """Make a bank of embeddings that exist already, in a tensor or an array (row, channel).

        ``labels`` are class names or numbers, None or -1 where there is none; ids are 0, 1, 2, … by default.

        Raises: ``ValueError`` for rows that cannot be compared, lists of another length or an id given twice;
        ``LookupError`` for an unknown similarity.
        """
        similarity, rows = similarity_name(similarity) or similarity, as_matrix(embeddings)
        entries = entries_in_memory(len(rows), labels, paths, ids)
        check_rows(rows, similarity, entries.paths)
        return cls(RowsInMemory(rows), similarity, entries, encoder, preprocessing)

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        dataset: LabeledImages | str | Path,
        *,
        similarity: str | Similarity = "cosine",
        batch_size: int = 16,
        report: Report = silent,
        directory: Place | None = None,
        resume: bool = False,
        dtype: str = "float32",
        engine: EngineChoice = LOCAL,
    ) -> "MemoryBank":
        """Embed every image of a data set or folder: in memory, or in a ``directory`` as ``open`` takes it.

        ``report`` is told the stage, the images done since its last call, and all images; workers of an ``engine``
        embed. Errors as ``from_embeddings`` and ``building.build_on_disk``.
        """
        images, compared = as_images(dataset), compared_at(encoder.scales, named_similarity(similarity))
        similarity = similarity_name(compared) or compared
        check_batch_size(batch_size)
        if directory is not None:
            store, named = store_at(directory), storable_name(similarity)
            build_on_disk(encoder, images, store, named, dtype, batch_size, resume, report, engine)
            return cls.open(store)
        made = cls.from_embeddings(
            embedded_together(encoder, images, batch_size, report, engine),
            label_names(images),
            paths=path_texts(images),
            similarity=similarity,
            encoder=described(encoder),
            preprocessing=preprocessing_text(encoder),
        )
        return replace(made, entries=with_contents(made.entries, checked_contents(images)))

    @classmethod
    def open(cls, place: Place, *, similarity: str | Similarity | None = None) -> "MemoryBank":
        """Open a bank in a folder, or ``milvus://host:port/collection``.

        Of a folder the manifest and sizes are checked now, the rest when it is read. Of a server the rows' texts are
        read now, and its index's recall is measured once for the rows as they are. ``similarity`` takes the place of
        the one it was built with; rows that have no such similarity are looked for now.

        Raises: ``FileNotFoundError`` for no bank; ``ValueError`` that names what is damaged; ``LookupError`` for a
        similarity that has no name here; ``ConnectionError`` for a server that is away.
        """
        there = (store := store_at(place)).open()
        given = recorded_name(there.similarity, str(store)) if similarity is None else similarity
        chosen = similarity_name(given) or given
        if chosen != there.similarity:
            check_all_rows(blocks(there.rows), chosen, there.entries.paths)
        known = (there.entries, there.encoder, there.preprocessing, own_index(there.rows, chosen), store)
        return cls(there.rows, chosen, *known)

    load = open  # noqa: A003 - another name of the method above

    @property
    def directory(self) -> Path | None:
        """The folder of the bank; None where it is in memory only, or on a server."""
        return None if self.store is None else self.store.directory

    @property
    def compared_by(self) -> Similarity:
        """The similarity itself."""
        return named_similarity(self.similarity)

    @property
    def similarity_words(self) -> str:
        """Name the similarity, or else its kind, for a page."""
        return words_of(self.similarity)

    def save(self, directory: Place, *, dtype: str = "float32") -> None:
        """Write the bank to a folder or a server, in place of the one that is there, whole or not at all.

        ``dtype`` is float32 or float16, in which the embeddings are rounded.

        Raises: ``ValueError`` or ``OSError`` in one sentence where it cannot be written; nothing is lost.
        """
        made = (storable_name(self.similarity), self.encoder, self.preprocessing)
        copy_to(store_at(directory), Settings(self.rows.shape[1], dtype, *made), self.rows, self.entries)

    def __len__(self) -> int:
        return self.rows.shape[0]

    @property
    def ids(self) -> Int64[Tensor, "row"]:
        """The id of every row."""
        return self.entries.ids

    @property
    def labels(self) -> Int64[Tensor, "row"]:
        """The label of every row, -1 where it has none."""
        return self.entries.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that labels are indices into; none where labels are numbers."""
        return self.entries.classes

    @property
    def paths(self) -> Sequence[str]:
        """The path of every row, "" where it has none."""
        return self.entries.paths

    def indexed(self, kind: str, *, k: int | None = None, recall: float = USUAL_RECALL) -> "MemoryBank":
        """Return the same bank with an index, as wide as it takes to reach the asked recall at k on a sample.

        ``verified.sentence`` says what was reached; it may be less where no setting reaches more. Beside a bank on
        disk the index is kept, and taken from there the next time; on a server it is the server's.
        """
        check_recall(recall)
        if kind not in INDEX_KINDS:
            raise unknown_name("index", kind, INDEX_KINDS)
        wanted = wanted_neighbors(k, len(self), len(self))
        if isinstance(self.rows, StoredRows):
            return replace(self, verified=cached(self.rows.stored, self.rows, self.similarity, kind, wanted, recall))
        if isinstance(self.rows, HasOwnIndex):
            return replace(self, verified=self.rows.indexed(self.similarity, kind, wanted, recall))
        return replace(
            self, verified=verify(build_index(self.rows, self.similarity, kind, wanted), self.rows, wanted, recall)
        )

    def search(
        self,
        embeddings: Given,
        k: int | None = None,
        *,
        classes: Sequence[str] | Sequence[int] | None = None,
        ids: Sequence[int] | Int[Tensor, "..."] | None = None,
        without: Int[Tensor, "..."] | None = None,
        leave_out: Int[Tensor, "*batch"] | None = None,
    ) -> Neighbors:
        """Return the k most similar rows of each query, a tensor or an array (…, channel).

        ``k`` of None is 200, or all rows where there are fewer.
        ``classes`` and ``ids`` search among the rows that have one of them, ``without`` leaves rows out; all
        three compare with every row that is left. ``leave_out`` is one row for each query, which is not its own
        neighbor, or -1.

        Raises: ``ValueError`` for more neighbors than there are rows to search among, or queries that cannot
        be compared; ``LookupError`` for an unknown class or id.
        """
        given = as_queries(embeddings, self.rows.shape[1], self.similarity)
        queries = given.reshape(-1, self.rows.shape[1])
        allowed = allowed_rows(self.entries, len(self), classes, ids, without)
        own = own_rows(leave_out, len(queries), allowed, len(self))
        left = len(self) if allowed is None else int(allowed.sum())
        wanted = wanted_neighbors(k, left - (own is not None), len(self))
        index = flat(self.similarity) if self.verified is None else self.verified.index
        found = search(index, self.rows, queries, wanted + (own is not None), allowed)
        found = found if own is None else without_own(found, own)
        shape = (*given.shape[:-1], wanted)
        indices = found.indices.reshape(shape)
        return Neighbors(indices, found.similarities.reshape(shape), self.labels[indices])

    def expect_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder other than the one that made the bank. Raises: ``ValueError`` with both.

        A bank that was imported does not say what made it; then only a search tells the dimensions apart.
        """
        expect_encoder(encoder, self.encoder, self.preprocessing, self.rows.shape[1])

    def append(
        self,
        embeddings: Given,
        labels: Labels | None = None,
        *,
        paths: Sequence[str | Path | None] | None = None,
        ids: Sequence[int] | Int[Tensor, "row"] | None = None,
    ) -> "MemoryBank":
        """Return the bank with more rows behind the others; ids that are not given go on from the largest.

        A bank on disk or on a server is changed there, whole or not at all. An index is not taken along: search is
        exact again, or that of the server, measured anew.

        Raises: ``ValueError`` for rows that cannot be compared, lists of another length or an id that is taken.
        """
        rows, known = as_rows(embeddings, "embeddings").numpy(), None if ids is None else np.asarray(ids)
        return self._changed(lambda bank: appended(bank, rows, known, *as_texts(self.entries, labels, paths)))

    def delete(self, ids: Sequence[int] | Int[Tensor, "row"]) -> "MemoryBank":
        """Return the bank without the rows of these ids. As ``append``, and ``LookupError`` for an unknown id."""
        return self._changed(lambda bank: deleted(bank, np.asarray(ids)))

    def update(
        self,
        ids: Sequence[int] | Int[Tensor, "row"],
        embeddings: Given | None = None,
        *,
        labels: Labels | None = None,
        paths: Sequence[str | Path | None] | None = None,
    ) -> "MemoryBank":
        """Return the bank with another embedding, label or path of these ids; None stays. Errors as ``delete``."""
        rows = None if embeddings is None else as_rows(embeddings, "embeddings").numpy()
        return self._changed(lambda bank: updated(bank, np.asarray(ids), rows, *as_texts(self.entries, labels, paths)))

    def _changed(self, change: Callable[[Existing], Change]) -> "MemoryBank":
        if self.store is not None:
            self.store.change(change)
            return MemoryBank.open(self.store, similarity=self.similarity)
        rows = torch.cat([block for _, block in blocks(self.rows)])
        left, entries = changed_in_memory(rows, self.entries, self.similarity_words, change)
        return replace(self, rows=RowsInMemory(left), entries=entries, verified=None)
