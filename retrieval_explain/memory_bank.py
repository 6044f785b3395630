"""A memory bank: embedded images with ids, labels and paths, and the search among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int64
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.batches import check_batch_size
from fsl_explain.encoder import Encoder
from fsl_explain.engine import LOCAL, EngineChoice
from fsl_explain.progress import Report, silent
from fsl_explain.scales import compared_at
from fsl_explain.similarities import Similarity, named_similarity, similarity_name
from retrieval_explain.places import Place, store_at
from retrieval_explain.ranking.neighbors import Neighbors, Rows, RowsInMemory, blocks
from retrieval_explain.search.index import flat, search
from retrieval_explain.search.indexed_rows import indexed_rows
from retrieval_explain.search.recall import USUAL_RECALL, Verified, own_index
from retrieval_explain.store.building import build_on_disk, label_names, path_texts
from retrieval_explain.store.changed_in_memory import as_texts, changed_in_memory
from retrieval_explain.store.copying import copy_to
from retrieval_explain.store.data_sets import as_images
from retrieval_explain.store.embedding import embedded_together
from retrieval_explain.store.encoder_fingerprint import described, expect_encoder, preprocessing_text
from retrieval_explain.store.entries import Entries, Labels, entries_in_memory, with_contents
from retrieval_explain.store.given_rows import Given, as_matrix, as_queries, as_rows, check_all_rows, check_rows
from retrieval_explain.store.journal import Settings
from retrieval_explain.store.row_changes import Change, Existing, appended, deleted, updated
from retrieval_explain.store.row_filter import allowed_rows, own_rows, wanted_among, without_own
from retrieval_explain.store.several_labels import checked_contents
from retrieval_explain.store.similarity_names import recorded_name, storable_name, words_of
from retrieval_explain.store.stores import Store


@dataclass(frozen=True)
class MemoryBank:
    """Embeddings of images, one row each. Search is exact unless an index was asked for.

    ``labels`` are the numbers that were given, or indices into ``classes`` where names were; -1 where an image
    has none. ``paths`` holds "" where an image has none. ``similarity`` is a name, or an object that has none.
    A bank that is open stays as it is: whatever changes one returns the changed bank.

    ``rows`` are the embeddings, in memory or mapped from a file, read as float32; ``entries`` what is known of each
    row. ``encoder`` says what made the embeddings, with its fingerprint, ``preprocessing`` how their images were
    prepared; "" where that is not known. ``verified`` is the index with its measured recall, None for exact search;
    ``store`` where the bank is kept, None in memory only.
    """

    rows: Rows
    similarity: str | Similarity
    entries: Entries
    encoder: str = ""
    preprocessing: str = ""
    verified: Verified | None = None
    store: Store | None = None

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
        """Make a bank in memory of embeddings that exist already, in a tensor or an array (row, channel); in float32.

        ``labels`` are class names, or whole numbers, and None (beside numbers also -1) where there is none; ``paths``
        are the images' files; ids are 0, 1, 2, … by default. ``similarity`` is ``cosine``, ``inner-product``,
        ``euclidean``, or an object. ``encoder`` and ``preprocessing`` are texts about what made the embeddings.

        Raises: ``ValueError`` for rows that cannot be compared (not finite; for the cosine also zero), lists of another
        length, names mixed with numbers or an id given twice; ``TypeError`` for embeddings that are no numbers;
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

        A folder holds a folder of images for each class, or images without labels; ``batch_size`` are embedded at a
        time. ``report`` is told the stage, the images done since its last call, and all images; workers of an
        ``engine`` embed. In a ``directory`` the new bank replaces an old one once it is whole, embeddings are rounded
        to ``dtype``, float32 or float16, and ``resume`` goes on with a build that was stopped.

        Raises: as ``from_embeddings``; ``FileNotFoundError`` for no such folder; ``ValueError`` for images that cannot
        be read, or an unfinished build of another encoder, of other images or settings; ``OSError`` for a full disk.
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

        Raises: ``FileNotFoundError`` for no bank; ``ValueError`` that names what is damaged, or for an address that is
        none; ``LookupError`` for a similarity that has no name here; ``ConnectionError`` for a server that is away, and
        ``ImportError`` without its client (the extra milvus).
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
        """The similarity itself; whichever it is, larger is more alike."""
        return named_similarity(self.similarity)

    @property
    def similarity_words(self) -> str:
        """Name the similarity, or else its kind, for a page."""
        return words_of(self.similarity)

    def save(self, directory: Place, *, dtype: str = "float32") -> None:
        """Write the bank to a folder or a server, in place of the one that is there, whole or not at all.

        ``dtype`` is float32 or float16, to which the embeddings are rounded; of a server float32 alone.

        Raises: ``ValueError`` for another ``dtype``, a similarity without a name or a file in the folder's place;
        ``OSError`` where it cannot be written. The bank that was there is then still whole.
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
        """The label of every row, an index into ``classes`` or the number that was given; -1 where it has none."""
        return self.entries.labels

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that labels are indices into, sorted; none where labels are numbers."""
        return self.entries.classes

    @property
    def paths(self) -> Sequence[str]:
        """The path of every row, "" where it has none."""
        return self.entries.paths

    def indexed(self, kind: str, *, k: int | None = None, recall: float = USUAL_RECALL) -> "MemoryBank":
        """Return the same bank with an index, as wide as it takes to reach the asked recall at k on a sample.

        ``kind`` is ``hnsw``, ``ivf`` or ``ivf-pq`` of FAISS, or ``flat``, the exact search. ``recall``, from 0 to 1, is
        the share of the k nearest that is to be found; ``k`` of None is 200, or all rows where there are fewer.
        ``verified.sentence`` says what was reached; it may be less where no setting reaches more. Beside a bank on
        disk the index is kept, and taken from there the next time; on a server it is the server's.

        Raises: ``LookupError`` for an unknown kind; ``ValueError`` for a recall or a k out of range, a similarity that
        is no inner product and no distance, fewer than 256 rows for ``ivf-pq``, or numbers too large for FAISS.
        """
        return replace(self, verified=indexed_rows(self.rows, self.similarity, kind, k, recall))

    def search(
        self,
        embeddings: Given,
        k: int | None = None,
        *,
        classes: Sequence[str] | Sequence[int] | None = None,
        ids: Sequence[int] | Int[Tensor, "..."] | None = None,
        without: Sequence[int] | Int[Tensor, "..."] | None = None,
        leave_out: Sequence[int] | Int[Tensor, "*batch"] | None = None,
    ) -> Neighbors:
        """Return the k most similar rows of each query, a tensor or an array (…, channel), the most similar first.

        Larger is more alike: a cosine in [-1, 1], an inner product, or minus the squared distance, at most 0. ``k`` of
        None is 200, or all rows where there are fewer. ``classes`` (names, or the numbers of labels) and ``ids``
        search among the rows that have one of them, ``without`` leaves rows out, by their places from 0; all three
        compare with every row that is left, also beside an index. ``leave_out`` is one row for each query, which is
        not its own neighbor, or -1.

        Raises: ``ValueError`` for more neighbors than there are rows to search among or an index finds, a row that is
        not there, or queries of other channels or without a similarity; ``LookupError`` for an unknown class or id;
        ``TypeError`` for queries that are no numbers, or a k that is no whole number.
        """
        given = as_queries(embeddings, self.rows.shape[1], self.similarity)
        queries = given.reshape(-1, self.rows.shape[1])
        allowed = allowed_rows(self.entries, len(self), classes, ids, without)
        own = own_rows(leave_out, len(queries), allowed, len(self))
        wanted = wanted_among(k, len(self), allowed, own)
        index = flat(self.similarity) if self.verified is None else self.verified.index
        found = search(index, self.rows, queries, wanted + (own is not None), allowed)
        found = found if own is None else without_own(found, own)
        shape = (*given.shape[:-1], wanted)
        indices = found.indices.reshape(shape)
        return Neighbors(indices, found.similarities.reshape(shape), self.labels[indices])

    def expect_encoder(self, encoder: Encoder) -> None:
        """Refuse an encoder or a preprocessing other than those that made the bank. Raises: ``ValueError`` with both.

        A bank without a fingerprint of what made it, as an imported one, takes any encoder of as many channels.
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
        """Return the bank with more rows (row, channel) behind the others; ids not given go on from the largest.

        A bank on disk or on a server is changed there, whole or not at all. An index is not taken along: search is
        exact again, or that of the server, measured anew.

        Raises: ``ValueError`` for rows that cannot be compared, lists of another length, an id that is taken, or names
        where labels are numbers and the reverse; ``OSError`` for a full disk or another process that writes.
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
        """Return the bank with another embedding, label or path of these ids, one for each; what is not given stays.

        A None in a list takes a label or path away. Errors as ``append`` and ``delete``; an id given twice is one, too.
        """
        rows = None if embeddings is None else as_rows(embeddings, "embeddings").numpy()
        return self._changed(lambda bank: updated(bank, np.asarray(ids), rows, *as_texts(self.entries, labels, paths)))

    def _changed(self, change: Callable[[Existing], Change]) -> "MemoryBank":
        if self.store is not None:
            self.store.change(change)
            return MemoryBank.open(self.store, similarity=self.similarity)
        left, entries = changed_in_memory(self.rows, self.entries, self.similarity_words, change)
        return replace(self, rows=RowsInMemory(left), entries=entries, verified=None)
