"""The desk: one computation at a time, first come first served, and a bound on how many may wait."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from episodes.errors import Mistake

PLACES = 12
"""Requests that may wait for the one that is computed; the next is asked to come back."""


class DeskIsFull(Mistake):
    """Too many requests wait already."""


class Desk:
    """Lets one request at a time compute. The network could serve several threads, which only makes each slower."""

    def __init__(self, places: int = PLACES) -> None:
        self.places = places
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait or are computed."""
        return len(self._queue)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn. Raises: ``DeskIsFull`` where more wait than there are places."""
        ticket = object()
        with self._changed:
            if len(self._queue) > self.places:
                raise DeskIsFull(f"{self.places} requests wait already; ask again in a moment.")
            self._queue.append(ticket)
            self._changed.wait_for(lambda: self._queue[0] is ticket)
        try:
            yield
        finally:
            with self._changed:
                self._queue.popleft()
                self._changed.notify_all()
