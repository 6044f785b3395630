"""What an address is asked, checked once: which bank, which search, which vote, and what is to be explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from episodes.errors import UnknownName
from fsl_explain.classifiers import Vote
from fsl_explain.serve.frame import Frame
from retrieval_explain.inspection.inspected import named_vote
from retrieval_explain.serve.queries import Asked, Queries, asked
from retrieval_explain.serve.served_bank import ServedBank
from retrieval_explain.serve.why_answer import Wanted
from retrieval_explain.serve.why_not_answer import BRUSH, FINEST


@dataclass(frozen=True)
class Workbench:
    """What every address works with."""

    banks: Sequence[ServedBank]
    queries: Queries
    frame: Frame

    def bank(self, number: int) -> ServedBank:
        """Return a bank by its number. Raises: ``LookupError``."""
        if not 0 <= number < len(self.banks):
            raise UnknownName(f"expected a bank from 0 to {len(self.banks) - 1}, but got {number}.")
        return self.banks[number]


def workbench_of(request: Request) -> Workbench:
    """Return what the app was made of."""
    found: Workbench = request.app.state.workbench
    return found


def bank_of(request: Request, number: int) -> ServedBank:
    """Return the bank of an address. Raises: ``LookupError``."""
    return workbench_of(request).bank(number)


def search_of(
    request: Request,
    number: int,
    query: str,
    box: str = "",
    k: int | None = None,
    classes: Annotated[list[str] | None, Query(alias="class")] = None,
    leave_self_out: bool = False,
) -> Asked:
    """Return the search of an address. Raises: ``ValueError``."""
    return asked(bank_of(request, number), query, k, box, classes or (), leave_self_out)


def vote_of(rule: str = "knn-vote", temperature: float | None = None) -> Vote:
    """Return the vote of an address. Raises: ``ValueError``."""
    return named_vote(rule, None, temperature)


def wanted_of(
    target: Annotated[int, Query(alias="id")],
    against: str = "",
    method: str = "exact",
    detail: int = 0,
    biases: str = "drawn",
) -> Wanted:
    """Return what an address asks to explain. Raises: ``ValueError`` for a rival that is no id."""
    digits = against.removeprefix("-")
    if against and not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise UnknownName(f"expected the id of an image as the rival, but got {against!r:.40}.")
    return Wanted(target, int(against) if against else None, method, detail, biases)


Work = Annotated[Workbench, Depends(workbench_of)]
Bank = Annotated[ServedBank, Depends(bank_of)]
Search = Annotated[Asked, Depends(search_of)]
Ballot = Annotated[Vote, Depends(vote_of)]
Explained = Annotated[Wanted, Depends(wanted_of)]


class Removed(BaseModel, extra="forbid", frozen=True, populate_by_name=True):
    """Squares of a query to search again without."""

    query: str
    box: str = ""
    k: int | None = None
    classes: list[str] = Field(default=[], alias="class")
    leave_self_out: bool = False
    rule: str = "knn-vote"
    temperature: float | None = None
    grid: tuple[int, int] = BRUSH
    cells: list[tuple[int, int]] = Field(max_length=FINEST * FINEST)
    watch: list[int] = []

    def search(self, bank: ServedBank) -> Asked:
        """Return the search that is made again. Raises: ``ValueError``."""
        return asked(bank, self.query, self.k, self.box, self.classes, self.leave_self_out)


class Change(BaseModel, extra="forbid", frozen=True):
    """Another label for one image."""

    id: int
    label: str


class Corrections(BaseModel, extra="forbid", frozen=True):
    """Labels to write, and the version in which they were looked at."""

    version: str
    changes: list[Change]
