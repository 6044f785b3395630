"""What the commands open: a bank, the encoder that made it, and a query image or a region of one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from episodes import read_image
from episodes.box_formats import Box
from episodes.errors import Mistake
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.progress import note
from fsl_explain.encoder import Encoder
from retrieval_explain.bank_address import Address
from retrieval_explain.decisions.explained_neighbors import Retrieved, retrieve, retrieve_again
from retrieval_explain.inspection.query_region import cut_region, region_edges
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.sharded_bank import load_shards

UNKNOWN = "–"


@dataclass(frozen=True)
class Query:
    """A query image, the region of it that is searched for, and what the encoder takes."""

    path: Path
    region: PIL.Image.Image
    box: Box | None
    image: Float[Tensor, "color height width"]

    @property
    def words(self) -> str:
        """Name the query, with its region where it is a part of an image."""
        if self.box is None:
            return self.path.name
        return f"{self.path.name}, region {' '.join(f'{edge:g}' for edge in self.box)}"


def open_bank_for(
    directory: Path | Address | Sequence[Path | Address],
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    index: str | None,
    k: int | None,
    detail: int = 0,
    biases: str = "drawn",
) -> tuple[MemoryBank, Encoder]:
    """Open a bank, or several as one, and the encoder that made it, with an index where one is asked for.

    Raises: ``ValueError`` for an encoder that did not make the bank.
    """
    places = [directory] if isinstance(directory, Path | Address) else list(directory)
    bank = MemoryBank.open(places[0]) if len(places) == 1 else load_shards(_folders(places))
    network = named_encoder(encoder, checkpoint, pooling, readout, scales, detail, biases)
    bank.expect_encoder(network)
    say_beforehand(network)
    if index is None:
        return bank, network
    note(f"Opening the {index} index of {len(bank)} images …")
    indexed = bank.indexed(index, k=k)
    if indexed.verified is not None:
        note(f"{index}: {indexed.verified.sentence}.")
    return indexed, network


def _folders(places: Sequence[Path | Address]) -> list[Path]:
    """Return places that are all folders. Raises: ``ValueError`` for one on a server."""
    for place in places:
        if not isinstance(place, Path):
            raise Mistake(f"only folders are searched together, but {place} is none; name it alone.")
    return [place for place in places if isinstance(place, Path)]


def open_query(path: Path, encoder: Encoder, box: Box | None, box_format: str = "xyxy") -> Query:
    """Read a query image and cut the region out of it that is asked for; the query's box is in pixels."""
    image = read_image(path)
    edges = None if box is None else region_edges(image, box, box_format)
    region = image if edges is None else cut_region(image, edges)
    return Query(path, region, edges, encoder.preprocess([region])[0])


def neighbors_of(
    encoder: Encoder,
    asked: Query,
    bank: MemoryBank,
    k: int | None,
    among: list[str] | list[int] | None,
    ids: tuple[int, ...],
    leave_self_out: bool,
) -> Retrieved:
    """Search the neighbors of a query, without its own file where that is to be left out; it is embedded once."""
    found = retrieve(encoder, asked.image, bank, k=k, classes=among, ids=ids or None)
    own = rows_to_leave_out(bank, found.neighbors.indices.tolist(), asked.path, leave_self_out)
    return found if own is None else retrieve_again(found, k=k, classes=among, ids=ids or None, without=own)


def labels_given(bank: MemoryBank, classes: Sequence[str]) -> list[str] | list[int] | None:
    """Return the classes that were asked for, as names or as numbers, whichever the bank has; None for all.

    Raises: ``ValueError`` for a name where the bank has numbers.
    """
    if not classes:
        return None
    if bank.classes:
        return list(classes)
    for name in classes:
        if not name.isdecimal():
            raise Mistake(f"expected a number as --class, because the bank's labels are numbers, but got {name!r}.")
    return [int(name) for name in classes]


def own_rows(bank: MemoryBank, rows: Sequence[int], query: Path) -> Tensor | None:
    """Return which of these rows are the query's own file; None where none is."""
    own = [row for row in rows if bank.paths[row] and _is_file(Path(bank.paths[row]), query)]
    return torch.tensor(own) if own else None


def rows_to_leave_out(bank: MemoryBank, rows: Sequence[int], query: Path, leave_self_out: bool) -> Tensor | None:
    """Return the rows of the query's own file where they are to be left out; otherwise say that it is in the bank."""
    own = own_rows(bank, rows, query)
    if own is not None and not leave_self_out:
        note(f"{query.name} is in the bank itself, and is like itself; --leave-self-out leaves it out.")
    return own if leave_self_out else None


def _is_file(path: Path, query: Path) -> bool:
    return os.path.exists(path) and path.samefile(query)  # noqa: PTH110 - pathlib raises for a name too long
