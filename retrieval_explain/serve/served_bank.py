"""A bank that is served, with the encoder that made it: what it is called, its version, and its images' pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import PIL.Image

from episodes import read_image
from episodes.errors import MissingFile, Mistake, UnknownName
from fsl_explain.backbones.random_parts import random_words
from fsl_explain.encoder import Encoder
from fsl_explain.registries import VOTES
from fsl_explain.serve.encoders_by_detail import EncodersByDetail
from fsl_explain.serve.offered import described, offered_details, offered_methods
from fsl_explain.serve.pictures import webp
from retrieval_explain.decisions.explained_neighbors import class_name
from retrieval_explain.decisions.many_voters import many_voters
from retrieval_explain.inspection.shown_paths import common_folder, shown_path
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.store.stored_rows import StoredRows
from retrieval_explain.store.versions import read_pointer

MOST_NEIGHBORS = 200
USUAL_NEIGHBORS = 10
PICTURES = 512
LISTED = 200
ENCODER = "fsl_explain.Encoder.named(…)"


@dataclass
class ServedBank:
    """A bank and its encoder; the bank is replaced by its next version when labels are corrected."""

    number: int
    bank: MemoryBank
    encoder: Encoder
    name: str
    made_by: str = ENCODER  # the Python that makes the encoder

    def __post_init__(self) -> None:
        self.encoders: EncodersByDetail = EncodersByDetail(self.encoder)
        self._look_up()

    def _look_up(self) -> None:
        """Look up once what every answer needs of the bank's rows."""
        self.folder: str = common_folder(self.bank.paths)
        self.rows: dict[int, int] = {int(one): row for row, one in enumerate(self.bank.ids.tolist())}
        self._row_by: dict[str, dict[str, int]] = {}
        kept = lru_cache(maxsize=PICTURES)(self._picture)
        self.picture_of: Callable[[int, int], tuple[bytes, tuple[int, int]]] = kept

    @property
    def version(self) -> str:
        """Which version of the bank is served."""
        rows = self.bank.rows
        return rows.stored.version if isinstance(rows, StoredRows) else "in memory"

    @property
    def is_current(self) -> bool:
        """Whether no one else has changed the bank since it was opened."""
        return self.bank.directory is None or read_pointer(self.bank.directory).version == self.version

    def replace_by(self, bank: MemoryBank) -> None:
        """Serve another version of the bank from now on."""
        self.bank = bank
        self._look_up()

    def row_of(self, number: int) -> int:
        """Return the row of an id. Raises: ``LookupError``."""
        if number not in self.rows:
            raise UnknownName(f"expected the id of an image of the bank {self.name}, but got {number}.")
        return self.rows[number]

    def row_by(self, column: str, text: str) -> int | None:
        """Return the first row whose content or path, as ``column`` says, is this; None where none is.

        The column is read once, when it is first asked for.
        """
        if column not in self._row_by:
            texts = list(getattr(self.bank.entries, column, ()))
            self._row_by[column] = {one: len(texts) - 1 - back for back, one in enumerate(reversed(texts)) if one}
        return self._row_by[column].get(text)

    def path_of(self, row: int) -> str:
        """Return the path of a row as it is shown: below the folder that all images lie in."""
        return shown_path(self.bank.paths[row], self.folder)

    def label_of(self, row: int) -> str | None:
        """Return the class of a row, None where it has none."""
        label = int(self.bank.labels[row])
        return None if label < 0 else class_name(self.bank, label)

    def photograph(self, row: int) -> PIL.Image.Image:
        """Read the image of a row. Raises: ``FileNotFoundError`` or ``ValueError`` that names it as it is shown."""
        path = self.bank.paths[row]
        if not path:
            raise MissingFile(f"the bank {self.name} holds no path for the image with id {int(self.bank.ids[row])}.")
        try:
            return read_image(path)
        except Mistake as error:
            raise type(error)(str(error).replace(path, self.path_of(row))) from error

    def _picture(self, row: int, width: int) -> tuple[bytes, tuple[int, int]]:
        photograph = self.photograph(row)
        return webp(photograph, width), photograph.size

    def fault_of(self, row: int) -> str:
        """Say why an image has no picture; "" where it has a file."""
        path = self.bank.paths[row]
        if not path:
            return "the bank holds no path for it"
        return "" if Path(path).is_file() else f"{self.path_of(row)} is not there any more"

    def address_of(self, row: int) -> str | None:
        """Return where the picture of a row is, None where its file is not there."""
        if self.fault_of(row):
            return None
        return f"/api/banks/{self.number}/images/{int(self.bank.ids[row])}/picture"

    def brief(self, row: int) -> dict[str, Any]:
        """Return what the page shows of an image wherever it stands."""
        return {
            "id": int(self.bank.ids[row]),
            "label": self.label_of(row),
            "path": self.path_of(row),
            "picture": self.address_of(row),
        }

    def listed(self, label: str | None, find: str, offset: int, limit: int) -> dict[str, Any]:
        """Return a page of the bank's images, of one class or whose paths hold a text."""
        if offset < 0 or not 1 <= limit <= LISTED:
            raise Mistake(f"expected an offset of at least 0 and a limit from 1 to {LISTED}.")
        rows = range(len(self.bank)) if label is None else self._of_class(label)
        if find:
            lowered = find.lower()
            rows = [row for row in rows if lowered in self.path_of(row).lower()]
        shown = rows[offset : offset + limit]
        return {"total": len(rows), "images": [self.brief(row) for row in shown]}

    def _of_class(self, label: str) -> list[int]:
        number = self.bank.classes.index(label) if label in self.bank.classes else -2
        if not self.bank.classes and label.isascii() and label.isdecimal():
            number = int(label[:18])
        found: list[int] = (self.bank.labels == number).nonzero()[:, 0].tolist()
        if not found:
            raise UnknownName(f"expected a class of the bank {self.name}, but it has no image of {label!r:.80}.")
        return found

    def classes(self) -> list[dict[str, Any]]:
        """Return every class with the number of its images."""
        labels, counts = self.bank.labels[self.bank.labels >= 0].unique(return_counts=True)
        pairs = zip(labels.tolist(), counts.tolist(), strict=True)
        return [{"name": class_name(self.bank, label), "images": count} for label, count in pairs]

    def described(self) -> dict[str, Any]:
        """Say what the page has to know of the bank."""
        bank, rows = self.bank, len(self.bank)
        similarity = bank.compared_by
        return {
            "index": self.number,
            "name": self.name,
            "images": rows,
            "labeled": int((bank.labels >= 0).sum()),
            "classes": self.classes(),
            "encoder": self._encoder_words(),
            "similarity": bank.similarity_words,
            "channels": bank.rows.shape[1],
            "text": self.encoder.text is not None,
            "votes": [{"name": name, "words": name} for name in VOTES],
            "k": min(USUAL_NEIGHBORS, rows),
            "most_k": min(MOST_NEIGHBORS, rows),
            "search": "exact" if bank.verified is None else f"{bank.verified.index.kind}: {bank.verified.sentence}",
            "version": self.version,
            "writable": bank.directory is not None,
            "methods": [described(name) for name in offered_methods(self.encoder, similarity)],
            "details": offered_details(self.encoder),
        }

    def _encoder_words(self) -> str:
        words = f"{self.bank.encoder or self.encoder.description}. {random_words(self.encoder.random)}"
        return words.removesuffix(". ")

    def many_voters(self, voters: int) -> Sequence[str]:
        """Return a sentence where more neighbors vote than the largest class has images."""
        found = many_voters(self.bank, voters)
        return [found] if found else []
