"""Where banks are kept: a folder or the address of a server becomes the store that has the bank."""

from pathlib import Path
from typing import TypeAlias

from retrieval_explain.bank_address import Address, as_place
from retrieval_explain.milvus.bank import MilvusStore
from retrieval_explain.store.stores import Folder, Store

Place: TypeAlias = str | Path | Address | Store


def store_at(place: Place) -> Store:
    """Return the store of a folder, of an address or of its text; a store as it is.

    Raises: ``ValueError`` for the address of a server that is none.
    """
    if isinstance(place, Store):
        return place
    found = as_place(place)
    return MilvusStore(found) if isinstance(found, Address) else Folder(found)
