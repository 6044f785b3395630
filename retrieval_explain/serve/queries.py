"""What is searched for: an image of a bank, one that was given, a region of either, or a text; and its neighbors.

Neighbors are kept for the last few queries, so that a question about them does not embed the query again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake, UnknownName
from fsl_explain.explainers.compared import visible
from fsl_explain.serve.box_text import box_from_text
from fsl_explain.serve.pictures import from_tensor, webp
from fsl_explain.serve.uploads import Uploads
from retrieval_explain.decisions.explained_neighbors import Retrieved, retrieve
from retrieval_explain.decisions.text_queries import TextRetrieved, retrieve_text
from retrieval_explain.inspection.query_region import cut_region
from retrieval_explain.serve.served_bank import MOST_NEIGHBORS, ServedBank

KEPT = 24
MOST_CLASSES = 500
LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Asked:
    """One search: the query as the page names it, a box in its pixels, and the filters."""

    query: str
    k: int
    box: tuple[float, float, float, float] | None = None
    classes: tuple[str, ...] = ()
    leave_self_out: bool = False

    @property
    def text(self) -> str | None:
        """The text that is searched for; None for an image."""
        return self.query.removeprefix("text:") if self.query.startswith("text:") else None


def asked(
    served: ServedBank, query: str, k: int | None, box: str, classes: Sequence[str], leave_self_out: bool
) -> Asked:
    """Check a search. Raises: ``ValueError`` for numbers that are none, or out of bounds."""
    wanted = min(10, len(served.bank)) if k is None else k
    most = min(MOST_NEIGHBORS, len(served.bank))
    if not 1 <= wanted <= most:
        raise Mistake(f"expected a number of neighbors from 1 to {most}, but got {wanted}.")
    if len(classes) > MOST_CLASSES:
        raise Mistake(f"expected at most {MOST_CLASSES} classes to search among, but got {len(classes)}.")
    if query.startswith("text:") and not 0 < len(query.removeprefix("text:").strip()) <= LONGEST_TEXT:
        raise Mistake(f"expected a text of 1 to {LONGEST_TEXT} letters to search for.")
    return Asked(query, wanted, box_from_text(box), tuple(classes), leave_self_out)


@dataclass
class Queries:
    """Finds what a query stands for, and its neighbors."""

    banks: Sequence[ServedBank]
    uploads: Uploads
    _kept: OrderedDict[tuple[object, ...], Retrieved] = field(default_factory=OrderedDict)

    def photograph(self, query: str) -> PIL.Image.Image:
        """Return the whole photograph of a query that is an image. Raises: ``LookupError`` for an unknown one."""
        kind, _, name = query.partition(":")
        if kind == "upload":
            return self.uploads.read(name)
        bank, row = self.place(query)
        return bank.photograph(row)

    def place(self, query: str) -> tuple[ServedBank, int]:
        """Return the bank and the row of a query that is an image of one. Raises: ``LookupError``."""
        kind, number, name = [*query.split(":"), "", ""][:3]
        digits = name.removeprefix("-")
        if kind != "image" or not (number.isdecimal() and digits.isdecimal()) or len(digits) > 18:
            raise UnknownName(f"expected image:BANK:ID, upload:HASH or text:WORDS as the query, but got {query!r:.80}.")
        if int(number[:4]) >= len(self.banks):
            raise UnknownName(f"expected a bank from 0 to {len(self.banks) - 1}, but got {number[:4]}.")
        bank = self.banks[int(number)]
        return bank, bank.row_of(int(name))

    def words(self, search: Asked) -> str:
        """Name the query."""
        if search.text is not None:
            return f"“{search.text}”"
        region = "" if search.box is None else f", region {' '.join(f'{edge:g}' for edge in search.box)}"
        if search.query.startswith("upload:"):
            return f"the given image{region}"
        bank, row = self.place(search.query)
        return f"{bank.path_of(row) or f'image {int(bank.bank.ids[row])}'}{region}"

    def preprocessed(self, served: ServedBank, search: Asked) -> Float[Tensor, "color height width"]:
        """Return the query, or its region, as the encoder takes it."""
        photograph = self.photograph(search.query)
        shown = photograph if search.box is None else cut_region(photograph, search.box)
        return served.encoder.preprocess([shown])[0]

    def seen(self, served: ServedBank, search: Asked) -> bytes:
        """Return the picture of the query as the network sees it."""
        return webp(from_tensor(visible(served.encoder, self.preprocessed(served, search).cpu())))

    def own_row(self, served: ServedBank, search: Asked) -> int | None:
        """Return the row of the bank that is the query's own photograph; None where none is."""
        if search.text is not None:
            return None
        kind, _, name = search.query.partition(":")
        if kind == "upload":
            return served.row_by("contents", name)
        bank, row = self.place(search.query)
        if bank is served:
            return row
        return served.row_by("paths", bank.bank.paths[row])

    def retrieved(self, served: ServedBank, search: Asked, detail: int = 0, biases: str = "drawn") -> Retrieved:
        """Embed the query and search its neighbors, or take what was found before. Raises: as ``retrieve``."""
        if search.text is not None:
            raise Mistake("expected an image as the query of this question, but got a text; choose an image.")
        key = (served.number, served.version, search, detail, biases)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        found = retrieve(
            served.encoders.at(detail, biases),
            self.preprocessed(served, search),
            served.bank,
            k=self._fitting(served, search),
            classes=chosen_classes(served, search.classes),
            without=self._left_out(served, search),
        )
        if detail == 0:  # finer maps keep what the network computed, which is large
            self._kept[key] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found

    def by_text(self, served: ServedBank, search: Asked) -> TextRetrieved:
        """Embed a text and search the images most similar to it. Raises: as ``retrieve_text``."""
        classes = chosen_classes(served, search.classes)
        text = search.text or ""
        return retrieve_text(served.encoder, text, served.bank, k=self._fitting(served, search), classes=classes)

    def _left_out(self, served: ServedBank, search: Asked) -> Tensor | None:
        own = self.own_row(served, search) if search.leave_self_out else None
        return None if own is None else torch.tensor([own])

    def _fitting(self, served: ServedBank, search: Asked) -> int:
        """Return as many neighbors as were asked for, or all that the filters leave."""
        if not search.classes:
            return min(search.k, len(served.bank) - (self._left_out(served, search) is not None))
        numbers = torch.tensor([int(one) for one in _numbers(served, search.classes)])
        left = torch.isin(served.bank.labels, numbers)
        own = self._left_out(served, search)
        if own is not None:
            left[own] = False
        return max(1, min(search.k, int(left.sum())))


def chosen_classes(served: ServedBank, classes: Sequence[str]) -> list[str] | list[int] | None:
    """Return the classes as the bank has them, by name or by number; None for all. Raises: ``ValueError``."""
    if not classes:
        return None
    if served.bank.classes:
        return list(classes)
    for name in classes:
        if not name.isdecimal():
            raise Mistake(f"expected a number as a class, because the bank's labels are numbers, but got {name!r:.80}.")
    return [int(name) for name in classes]


def _numbers(served: ServedBank, classes: Sequence[str]) -> list[int]:
    bank = served.bank
    if not bank.classes:
        return [int(name) for name in chosen_classes(served, classes) or ()]
    return [bank.classes.index(name) for name in classes if name in bank.classes]
