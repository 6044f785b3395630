"""Which worker makes which part next: parts of one group stay together as long as no worker is idle for it."""

from collections import deque
from collections.abc import Iterable

from fsl_explain.engine import Part

Placed = tuple[int, Part]  # with its position


class Schedule:
    """The parts that are left, in their order.

    A worker goes on with the group it is at. Then it begins the first one at which nobody is, and where there is none
    it takes from the one that has most left.
    """

    def __init__(self, parts: Iterable[Placed]) -> None:
        self._left: dict[str | int, deque[Placed]] = {}
        for position, part in parts:
            key = position if part.group is None else part.group
            self._left.setdefault(key, deque()).append((position, part))
        self._lost: deque[Placed] = deque()
        self._at: dict[int, str | int] = {}

    def __bool__(self) -> bool:
        return bool(self._left or self._lost)

    def take(self, worker: int) -> Placed | None:
        """Return the next part of a worker, or None where nothing is left."""
        if self._lost:  # first of all, because somebody may wait for it to go on in order
            return self._lost.popleft()
        if not self._left:
            return None
        key = self._at.get(worker)
        if key is None or key not in self._left:
            key = self._at[worker] = self._next_group(worker)
        parts = self._left[key]
        taken = parts.popleft()
        if not parts:
            del self._left[key]
        return taken

    def give_back(self, placed: Placed) -> None:
        """Take back a part whose worker is no more."""
        self._lost.append(placed)

    def _next_group(self, worker: int) -> str | int:
        begun = {key for other, key in self._at.items() if other != worker}
        fresh = next((key for key in self._left if key not in begun), None)
        return max(self._left, key=lambda one: len(self._left[one])) if fresh is None else fresh
