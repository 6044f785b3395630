"""What a bank's collection says of itself: the commit record, the claim of a writer, and what was measured."""

from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from episodes.errors import Mistake
from retrieval_explain.store.manifest import MOST_CHANNELS, Text

LONGEST = 65535  # bytes of a text field
RECORD_OF = "the record of a bank"
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Made(BaseModel, extra="forbid", frozen=True, strict=True):
    """What all rows of a bank share."""

    format: int = Field(1, ge=1, le=1)
    channels: int = Field(ge=1, le=MOST_CHANNELS)
    similarity: Text
    encoder: Text
    preprocessing: Text


class Record(BaseModel, extra="forbid", frozen=True, strict=True):
    """One committed state of a bank: which transactions it holds, and what its rows must come to.

    A row is of the bank when its transaction is not after ``since`` and none of ``skipped``, those of writers that
    were stopped.
    """

    made: Made
    since: Count
    rows: Count
    digest: Count  # the sum of the rows' digests, modulo 2^63
    next: Count  # primary key after the last
    largest: float = Field(ge=0)  # norm of what is compared of any row, or more
    numbered: bool  # labels are numbers
    skipped: tuple[int, ...] = Field((), strict=False)


class Claim(BaseModel, extra="forbid", frozen=True, strict=True):
    """A writer's word that it works on a collection: its transaction, and the keys that it may use."""

    writer: str
    since: Count
    until: Count
    made: Made
    dropped: bool = False


class Measured(BaseModel, extra="forbid", frozen=True, strict=True):
    """The recall that was seen of the server's index, for the rows of one commit."""

    kind: str
    settings: dict[str, int]
    recall: float
    k: int
    queries: int
    asked: float


def text_of(value: BaseModel) -> str:
    """Return a value as the text that a collection keeps. Raises: ``ValueError`` for more than a field holds."""
    text = value.model_dump_json()
    if len(text.encode()) > LONGEST:
        raise Mistake(
            f"expected a description of encoder and preprocessing of at most {LONGEST} bytes for a bank on a Milvus "
            f"server, but it has {len(text.encode())}; keep the bank in a folder."
        )
    return text


def read_text(kind: type[BaseModel], text: str, name: str) -> BaseModel:
    """Read a value. Raises: ``ValueError`` for a text that this software did not write."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or error.errors()[0]["msg"]
        raise Mistake(
            f"the collection {name} is of another format than this version of the software reads ({where}); update the "
            "software or build the bank again."
        ) from error
