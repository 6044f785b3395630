"""Tables of what can be chosen by name: one registration adds a member, and all that offers names reads the table.

A member may be given as the text ``"package.module"`` or ``"package.module:NAME"``. It is then imported when it is
first asked for, so that names can be listed and checked before anything heavy is loaded.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Generic, TypeVar, overload

from episodes.errors import WrongType
from episodes.naming import unknown_name

Member = TypeVar("Member")
Default = TypeVar("Default")


class Registry(MutableMapping[str, Member], Generic[Member]):
    """Members of one kind by name, in the order in which they were registered.

    ``registry["name"] = member`` adds one; a member is what the kind's protocol says, or the text of its place.
    ``composed`` makes members of others, from names that are none of theirs: it returns None where a name says nothing.
    """

    def __init__(
        self,
        kind: str,
        members: Mapping[str, Member | str],
        composed: Callable[[str], Member | None] = lambda _name: None,
    ) -> None:
        self.kind = kind
        self._members: dict[str, Member | str] = dict(members)
        self._composed = composed

    def __getitem__(self, name: str) -> Member:
        """Return a member by name. Raises: ``LookupError`` with the nearest names."""
        if name not in self:
            raise unknown_name(self.kind, str(name), self)
        if name not in self._members:
            return self._composed(name)  # type: ignore[return-value] # which made it a member
        member = self._members[name]
        if isinstance(member, str):
            module, _, attribute = member.partition(":")
            loaded = import_module(module)
            member = getattr(loaded, attribute) if attribute else loaded  # type: ignore[assignment]
            self._members[name] = member
        return member  # type: ignore[return-value]

    def __setitem__(self, name: str, member: Member) -> None:
        self._members[name] = member

    def __delitem__(self, name: str) -> None:
        if name not in self._members:
            raise unknown_name(self.kind, str(name), self)
        del self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._members or self._composed(name) is not None)

    def __or__(self, others: Mapping[str, Member]) -> dict[str, Member]:
        """Return the members and others as a plain dict; this registry stays as it is."""
        return {**self, **others}

    @overload
    def get(self, name: str) -> Member | None: ...
    @overload
    def get(self, name: str, default: Member) -> Member: ...
    @overload
    def get(self, name: str, default: Default) -> Member | Default: ...
    def get(self, name: str, default: object = None) -> object:
        """Return a member by name, or the default where there is none."""
        return self[name] if name in self else default  # noqa: SIM401 - this is that method

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}: {', '.join(self)})"

    def checked(self, name: str, *also: str) -> str:
        """Return the name of a member, or one of those ``also`` taken, without loading it.

        Raises: ``LookupError`` with the nearest names.
        """
        if name not in self and name not in also:
            raise unknown_name(self.kind, str(name), (*self, *also))
        return name

    def listed(self, *also: str) -> str:
        """Return the names as words for people: ``a, b or c``."""
        *names, last = (*self, *also)
        return f"{', '.join(names)} or {last}" if names else last

    def find(self, member: str | Member) -> Member:
        """Return a member by name, or the object that was given.

        Raises: ``LookupError`` with the nearest names; ``TypeError`` for a class or a number in place of an object.
        """
        if isinstance(member, str):
            return self[member]
        if isinstance(member, type):
            got = f"the class {member.__name__}; write {member.__name__}(…)"
            raise WrongType(f"expected a {self.kind} by name or as an object, but got {got}.")
        if member is None or isinstance(member, int | float):
            raise WrongType(
                f"expected a {self.kind} by name or as an object, but got {member}; choose {self.listed()}."
            )
        return member

    def name_of(self, member: str | Member) -> str | None:
        """Return the name of a member that was given by name or as an object, or None for one without a name.

        Nothing is imported for that: an object that is there comes from a module that is.
        """
        if isinstance(member, str):
            return self.checked(member)
        loaded = (name for name, known in self._members.items() if not isinstance(known, str) or _is_loaded(known))
        known = next((name for name in loaded if _same(self[name], member)), None)
        own = getattr(member, "composed_name", None)  # of a member that was made of others
        return own if known is None and own in self else known


def _is_loaded(place: str) -> bool:
    return place.partition(":")[0] in sys.modules


def _same(known: object, member: object) -> bool:
    return known is member or (type(known) is type(member) and known == member)
