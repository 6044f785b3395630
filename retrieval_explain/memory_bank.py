"""A memory bank: embedded images with labels and paths, and the search among them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes import LabeledImages
from episodes.naming import unknown_name
from fsl_explain.encoder import Encoder
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain.bank_files import StoredBank, open_bank
from retrieval_explain.bank_writer import BankWriter
from retrieval_explain.index import KINDS, build_index, flat, search
from retrieval_explain.neighbors import Neighbors, Rows, RowsInMemory, blocks, scan
from retrieval_explain.recall import Verified, verify

DEFAULT_K = 200  # what NPID, MoCo and FAM vote with
UNLABELED = -1
LABELS = "labels"  # note of a stored bank: whether its labels were names or numbers


@dataclass(frozen=True)
class StoredRows:
    """Rows of a bank on disk: mapped, and verified when they are first read."""

    stored: StoredBank

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and channels."""
        return len(self.stored), self.stored.manifest.channels

    def read(self, start: int, stop: int) -> Float[Tensor, "row channel"]:
        """Return consecutive rows."""
        return torch.from_numpy(self.stored.rows(start, stop).copy())

    def take(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... channel"]:
        """Return any rows, in the shape of the indices."""
        return torch.from_numpy(self.stored.take(indices.numpy()))


@dataclass(frozen=True)
class MemoryBank:
    """Embeddings of images, one row each. Search is exact unless an index was asked for.

    ``labels`` are the numbers that were given, or indices into ``classes`` where names were; -1 where an image
    has none.
    """

    rows: Rows
    similarity: str
    labels: Int[Tensor, "row"]
    classes: tuple[str, ...]
    paths: tuple[str, ...]  # "" where an image has none
    encoder: str = ""  # what made the embeddings
    verified: Verified | None = None  # None: exact search

    @classmethod
    def from_embeddings(
        cls,
        embeddings: Float[Tensor, "row channel"],
        labels: Sequence[int] | Sequence[str] | Tensor | None = None,
        paths: Sequence[str | Path] | None = None,
        similarity: str = "cosine",
        encoder: str = "",
    ) -> "MemoryBank":
        """Make a bank of embeddings that exist already.

        ``labels`` are class names or numbers.

        Raises: ``ValueError`` for rows that cannot be compared, or lists of another length; ``LookupError``
        for an unknown similarity.
        """
        if similarity not in SIMILARITIES:
            raise unknown_name("similarity", similarity, SIMILARITIES)
        if embeddings.dim() != 2 or not len(embeddings):
            raise ValueError(
                f"expected embeddings (rows, channels) of at least one image, but got shape {tuple(embeddings.shape)}."
            )
        named = tuple("" if path is None else str(path) for path in paths or [""] * len(embeddings))
        numbers, classes = _numbered(labels, len(embeddings))
        for what, given in (("labels", numbers), ("paths", named)):
            if len(given) != len(embeddings):
                raise ValueError(
                    f"expected one of the {what} for each of {len(embeddings)} rows, but got {len(given)}."
                )
        stored = embeddings.detach().cpu().float()
        check_rows(stored, similarity, named)
        return cls(RowsInMemory(stored), similarity, numbers, classes, named, encoder)

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        dataset: LabeledImages,
        similarity: str = "cosine",
        batch_size: int = 16,
        report: Callable[[int], None] = lambda _: None,
    ) -> "MemoryBank":
        """Embed every image of a data set; ``report`` is told the number of images done."""
        parts = []
        for start in range(0, len(dataset), batch_size):
            images = [dataset[i].image for i in range(start, min(start + batch_size, len(dataset)))]
            parts.append(encoder(encoder.preprocess(images)).embedding.cpu())
            report(len(images))
        names = [dataset.classes[int(label)] for label in dataset.labels]
        paths = ["" if path is None else str(path) for path in dataset.paths]
        return cls.from_embeddings(torch.cat(parts), names, paths, similarity, encoder.description)

    @classmethod
    def load(cls, directory: str | Path) -> "MemoryBank":
        """Open a stored bank: its sizes are checked now, each block of embeddings when it is first read.

        Raises: ``FileNotFoundError`` where there is no bank; ``ValueError`` that names a damaged file.
        """
        stored = open_bank(Path(directory))
        manifest = stored.manifest
        named = [label for label in stored.labels() if label is not None]
        given = [int(label) for label in named] if manifest.notes.get(LABELS) == "numbers" else named
        labels, classes = _numbered(given or None, len(stored))
        paths = tuple(path or "" for path in stored.paths())
        return cls(StoredRows(stored), manifest.similarity, labels, classes, paths, manifest.encoder)

    def save(self, directory: str | Path) -> None:
        """Write the bank to a folder, in place of the bank that is there; a kill leaves the old one or the new one.

        Raises: ``ValueError`` or ``OSError`` in one sentence where it cannot be written; nothing is lost.
        """
        rows, channels = self.rows.shape
        named = [self.classes[label] for label in self.labels.tolist()] if self.classes else None
        numbers = None if bool((self.labels == UNLABELED).all()) else [str(label) for label in self.labels.tolist()]
        with BankWriter(
            Path(directory), channels, "float32", self.similarity, self.encoder, expected_rows=rows
        ) as writer:
            for start, block in blocks(self.rows):
                part = slice(start, start + len(block))
                labels = named[part] if named else numbers[part] if numbers else None
                writer.add(block.numpy(), labels=labels, paths=[path or None for path in self.paths[part]])
            writer.notes = {LABELS: "names" if named else "numbers"}

    def __len__(self) -> int:
        return self.rows.shape[0]

    def indexed(self, kind: str, k: int | None = None, recall: float = 0.95) -> "MemoryBank":
        """Return the same bank with an index, as wide as it takes to reach the asked recall at k on a sample.

        ``verified.recall`` says what was reached; it may be less where no setting reaches more.
        """
        if kind not in KINDS:
            raise unknown_name("index", kind, KINDS)
        wanted = self._wanted(k)
        return replace(
            self, verified=verify(build_index(self.rows, self.similarity, kind, wanted), self.rows, wanted, recall)
        )

    def search(
        self,
        embeddings: Float[Tensor, "*batch channel"],
        k: int | None = None,
        classes: Sequence[str] | Sequence[int] | None = None,
        without: Int[Tensor, "..."] | None = None,
    ) -> Neighbors:
        """Return the k most similar rows of each query; ``k`` of None is 200, or all rows where there are fewer.

        ``classes`` searches among the rows of some classes only, ``without`` leaves rows out; both compare
        with every row that is left.

        Raises: ``ValueError`` for more neighbors than there are rows to search among, or queries that cannot
        be compared; ``LookupError`` for an unknown class.
        """
        channels = self.rows.shape[1]
        if embeddings.shape[-1] != channels:
            raise ValueError(
                f"expected queries of {channels} channels, but got {embeddings.shape[-1]}; use the bank's encoder."
            )
        queries = embeddings.detach().cpu().reshape(-1, channels).float()
        check_rows(queries, self.similarity, (), "queries")
        allowed = self._allowed(classes, without)
        wanted = self._wanted(k, len(self) if allowed is None else int(allowed.sum()))
        if allowed is not None:
            found = scan(queries, self.rows, self.similarity, wanted, allowed)
        else:
            index = flat(self.similarity) if self.verified is None else self.verified.index
            found = search(index, self.rows, queries, wanted)
        shape = (*embeddings.shape[:-1], wanted)
        indices = found.indices.reshape(shape)
        return Neighbors(indices, found.similarities.reshape(shape), self.labels[indices])

    def _allowed(
        self, classes: Sequence[str] | Sequence[int] | None, without: Tensor | None
    ) -> Bool[Tensor, "row"] | None:
        if classes is None and without is None:
            return None
        allowed = torch.ones(len(self), dtype=torch.bool)
        if classes is not None:
            allowed = torch.isin(self.labels, torch.tensor([self._number_of(name) for name in classes]))
        if without is not None:
            allowed[without.flatten()] = False
        return allowed

    def _number_of(self, name: str | int) -> int:
        if isinstance(name, str):
            if name not in self.classes:
                raise unknown_name("class", name, self.classes)
            return self.classes.index(name)
        if not (self.labels == name).any():
            raise LookupError(f"expected a label of the bank, but no row has {name}.")
        return name

    def _wanted(self, k: int | None, there_are: int | None = None) -> int:
        rows = len(self) if there_are is None else there_are
        wanted = min(DEFAULT_K, rows) if k is None else k
        if not 1 <= wanted <= rows:
            raise ValueError(
                f"asked for {wanted} neighbors, but there are {rows} embeddings to search among; "
                f"{'lower k' if rows else 'add images or drop the filter'}."
            )
        return wanted


def check_rows(
    embeddings: Float[Tensor, "row channel"], similarity: str, paths: Sequence[str], what: str = "embeddings"
) -> None:
    """Refuse rows that cannot be compared.

    Raises: ``ValueError`` that says how many there are, and names the first.
    """
    bad = ~embeddings.isfinite().all(dim=-1)
    if similarity == "cosine":
        bad |= (embeddings == 0).all(dim=-1)
    if not bad.any():
        return
    first = int(bad.nonzero()[0, 0])
    name = paths[first] if first < len(paths) and paths[first] else f"row {first}"
    kind = "zero or not finite" if similarity == "cosine" else "not finite"
    raise ValueError(
        f"{int(bad.sum())} of {len(bad)} {what} are {kind}, first {name}; they have no {similarity} similarity: "
        "fix or drop these images."
    )


def _numbered(labels: Sequence[int] | Sequence[str] | Tensor | None, rows: int) -> tuple[Tensor, tuple[str, ...]]:
    """Return labels as numbers, and the names they stand for where they were names."""
    if labels is None:
        return torch.full((rows,), UNLABELED), ()
    given: list[Any] = labels.tolist() if isinstance(labels, Tensor) else list(labels)
    if not all(isinstance(label, str) for label in given):
        return torch.tensor([int(label) for label in given]), ()
    classes = tuple(sorted(set(given)))
    place = {name: number for number, name in enumerate(classes)}
    return torch.tensor([place[name] for name in given]), classes
