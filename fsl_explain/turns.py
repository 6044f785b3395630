"""Turns: what several threads share is used by one of them at a time.

A network is changed while it runs: its modes, and the hooks on its layers. Its modules are therefore taken before it
runs and given back after. They are taken all at once, so that two networks that share a module wait for each other,
and nothing is kept on the network, so that it is copied and pickled as before. A thread may take again what it has.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from episodes.errors import Busy

RANDOM_NUMBERS = "the global random number generators"
DRAWING = "the fonts and caches of matplotlib"


@dataclass(eq=False)
class _Waiting:
    """A thread that waits for things, known by their ids, that others have."""

    thread: int
    wanted: set[int]
    has_them: threading.Event = field(default_factory=threading.Event)


class _Turns:
    """Who has what, and who waits."""

    def __init__(self) -> None:
        self.table = threading.Lock()
        self.holders: dict[int, int] = {}
        self.queue: list[_Waiting] = []

    def take(self, things: set[int], thread: int) -> set[int]:
        """Wait until no other thread has any of the things; return those that the thread did not have before."""
        with self.table:
            wanted = {one for one in things if self.holders.get(one) != thread}
            if self._is_free(wanted):
                self._hand_over(wanted, thread)
                return wanted
            self._refuse_a_circle(wanted, thread)
            waiting = _Waiting(thread, wanted)
            self.queue.append(waiting)
        try:
            waiting.has_them.wait()
        except BaseException:
            self._leave(waiting)
            raise
        return wanted

    def give_back(self, things: set[int]) -> None:
        """Free the things, and hand them to those who can go on with them, first come first served."""
        with self.table:
            for one in things:
                self.holders.pop(one, None)
            for waiting in [one for one in self.queue if things]:
                if self._is_free(waiting.wanted):
                    self._hand_over(waiting.wanted, waiting.thread)
                    self.queue.remove(waiting)
                    waiting.has_them.set()

    def has(self, thing: int, thread: int) -> bool:
        """Tell whether a thread has a thing; only the thread itself can change the answer about it."""
        return self.holders.get(thing) == thread

    def forget_other_threads(self) -> None:
        """After a fork, keep only what the one thread has that goes on in the new process."""
        me = threading.get_ident()
        self.table, self.queue = threading.Lock(), []
        self.holders = {one: thread for one, thread in self.holders.items() if thread == me}

    def _is_free(self, things: set[int]) -> bool:
        return self.holders.keys().isdisjoint(things)

    def _hand_over(self, things: set[int], thread: int) -> None:
        self.holders.update(dict.fromkeys(things, thread))

    def _leave(self, waiting: _Waiting) -> None:
        with self.table:
            if not waiting.has_them.is_set():
                self.queue.remove(waiting)
                return
        self.give_back(waiting.wanted)

    def _refuse_a_circle(self, wanted: set[int], thread: int) -> None:
        waits_for = {one.thread: one.wanted for one in self.queue}
        asked, seen = list(wanted), set[int]()
        while asked:
            holder = self.holders.get(asked.pop())
            if holder == thread:
                raise Busy(
                    "two threads each use a network that the other one waits for, which would never end; call one "
                    "encoder after the other, not one inside the other's network, head or similarity."
                )
            if holder is not None and holder not in seen:
                seen.add(holder)
                asked.extend(waits_for.get(holder, ()))


_turns = _Turns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_turns.forget_other_threads)


@contextmanager
def alone(things: Iterable[object]) -> Iterator[None]:
    """Have the things to oneself while the block runs: other threads that ask for any of them wait.

    The things are the modules of a network, ``RANDOM_NUMBERS`` or ``DRAWING``; they are told apart by identity.

    Raises: ``BlockingIOError`` where two threads would wait for each other for ever.
    """
    kept = list(things)  # so that no other thing gets the id of one that is gone
    taken = _turns.take({id(one) for one in kept}, threading.get_ident())
    try:
        yield
    finally:
        _turns.give_back(taken)


def has_turn(thing: object) -> bool:
    """Tell whether this thread has a thing to itself already, and with a network all of its modules."""
    return _turns.has(id(thing), threading.get_ident())
