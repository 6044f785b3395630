"""Values that are made when a figure asks for them, once for all figures."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class AskedFor(Mapping[str, Any]):
    """A mapping whose values are made by functions, each at most once."""

    def __init__(self, **makers: Callable[[], Any]) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
