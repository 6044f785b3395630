"""A Milvus server: each call waits for a server that is gone, up to a limit, and fails in one sentence."""

import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

from episodes.errors import MissingPackage, Mistake
from retrieval_explain.bank_address import Address

NOT_LOADED = 101  # the server has the collection on its disk alone
LOADED_AGAIN = 3
UNREADABLE = 1  # something that it did not foresee, which no server says of its limits
SLOW = ("flush", "create_index", "load_collection", "drop_collection")  # they take as long as the rows are many
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")  # of the states of gRPC


class ServerAway(Mistake, ConnectionError):
    """The server did not answer in time; what was asked for may be asked for again."""


class Refused(Mistake):
    """The server refused a call; ``code`` is the server's own number of the reason."""

    code: int


class Server:
    """A connection that is opened when it is first used, and opened again when the server was gone.

    Every call may be repeated: rows are written by their primary key, so that a repeated batch doubles none.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._lock = threading.Lock()

    @cached_property
    def pymilvus(self) -> Any:
        """The client's module. Raises: ``ImportError`` where it is not installed."""
        try:
            import pymilvus  # noqa: PLC0415 - an optional package
        except ImportError as error:
            raise MissingPackage.of_extra("milvus", "pymilvus", "a bank on a Milvus server") from error
        return pymilvus

    @cached_property
    def _client(self) -> Any:
        known = {"token": os.environ.get("MILVUS_TOKEN", ""), "db_name": self.address.database}
        return self.pymilvus.MilvusClient(uri=self.address.server, timeout=self.address.timeout, **known)

    def call(self, verb: str, *args: Any, loads: str = "", **options: Any) -> Any:
        """Call a verb of the client; ``loads`` is the collection to load where the server has it on its disk alone.

        Raises: ``ConnectionError`` for a server that is away for longer than the address allows, ``ValueError`` with
        the server's words for anything that it refuses.
        """
        end, pause, loaded = time.monotonic() + self.address.timeout, FIRST_PAUSE, 0
        while True:
            left = end - time.monotonic()
            try:
                with _quiet():
                    limits = {"retry_times": 1} if verb in SLOW else {"timeout": max(0.1, left)}
                    return getattr(self._connected(), verb)(*args, **limits, **options)
            except self.pymilvus.MilvusException as error:
                if error.code == NOT_LOADED and loads and loaded < LOADED_AGAIN:
                    loaded += 1
                    self.load(loads)
                    continue
                if not self._is_away(error):
                    raise self._refused(verb, error) from error
                if end - time.monotonic() <= pause:
                    raise self._away() from error
            except Exception as error:  # of gRPC, whose errors the client lets through here and there
                if not self._is_away(error):
                    raise
                if end - time.monotonic() <= pause:
                    raise self._away() from error
            self._forget()
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)

    def load(self, collection: str) -> None:
        """Load a collection; where the server cannot read an index of it, put an exhaustive one in its place.

        A server that is killed while it writes an index may leave half a file, and refuses the collection from then
        on. Nothing is lost: an index is made from rows that are there.

        Raises: as ``call``.
        """
        try:
            self.call("load_collection", collection)
        except Refused as refused:
            if refused.code != UNREADABLE:
                raise
            for name in self.call("list_indexes", collection):
                self._index_again(collection, name)
            self.call("load_collection", collection)
            told = "No row is lost: an exhaustive index was put in the place of what it could not read."
            warnings.warn(f"{refused} {told}", stacklevel=3)

    def _index_again(self, collection: str, name: str) -> None:
        told = self.call("describe_index", collection, index_name=name)
        indices = self.pymilvus.MilvusClient.prepare_index_params()
        indices.add_index(told["field_name"], "FLAT", name, metric_type=told["metric_type"])
        with suppress(Refused):  # another process may have done it; the load that follows tells
            self.call("drop_index", collection, index_name=name)
        with suppress(Refused):
            self.call("create_index", collection, index_params=indices)

    def _connected(self) -> Any:
        with self._lock:
            return self._client

    def _forget(self) -> None:
        """Drop the connection; a server that was started again is connected to anew."""
        with self._lock:
            client = self.__dict__.pop("_client", None)
        with suppress(Exception), _quiet():  # it is given up in any case
            client and client.close()

    def _is_away(self, error: Exception) -> bool:
        state = getattr(error, "code", None)
        name = getattr(state() if callable(state) else state, "name", "")
        words = str(error)
        if isinstance(error, self.pymilvus.MilvusException):
            told = ("Retry", "Fail connecting", "server unavailable", "Timeout", *AWAY)
            return any(word in words for word in told)
        return name in AWAY or isinstance(error, ConnectionError) or "closed channel" in words

    def _away(self) -> ServerAway:
        return ServerAway(
            f"the Milvus server at {self.address.place} did not answer for {self.address.timeout:g} seconds; see that "
            "it runs, then do the same again: what it had taken is not written twice."
        )

    def _refused(self, verb: str, error: Any) -> Refused:
        said = " ".join(str(getattr(error, "message", "") or error).split())
        made = Refused(f"the Milvus server at {self.address.place} refused {verb} of {self.address.name}: {said:.300}.")
        made.code = error.code
        return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client from printing what is said in one sentence here."""
    logger = logging.getLogger("pymilvus")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)
