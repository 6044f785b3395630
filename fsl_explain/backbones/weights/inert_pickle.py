"""A pickle read as data: nothing that it names is ever imported, built or called.

Pickle is a program for a small stack machine. This reader runs that program with names in the place of classes and
functions. A name that is not on the lists of ``pickle_names`` ends the reading; one that is becomes a plain record.
Storages and tensors come from functions of the caller's. What a small file could make large or endlessly deep is
refused: a container made of anything but a list, more elements copied than the pickle has instructions, and a key that
is no plain value, because to hash a deep one ends the interpreter.
"""

import pickletools
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from fsl_explain.backbones.weights import pickle_names as names
from fsl_explain.backbones.weights.pickle_names import DamagedFileError, Inert, Name, RefusedPickleError, known_name

KEYS = (str, int, float, bytes, Name, type(None))
LONGEST_KEY = 8  # plain values in a tuple that is a key
SPARE_COPIES = 1000


class InertReader:
    """Reads pickles of one file, one after the other.

    ``persistent`` says what a persistent id stands for, ``rebuild`` makes a tensor of what a pickle says of it.
    """

    def __init__(
        self, file: Any, persistent: Callable[[Any], Any], rebuild: Callable[[tuple[Any, ...]], Tensor]
    ) -> None:
        self.file = file
        self.persistent = persistent
        self.rebuild = rebuild
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.copies_left: int = SPARE_COPIES

    def read(self) -> Any:
        """Return what the next pickle describes.

        Raises: ``RefusedPickleError`` for a name or an instruction that is not known here; anything else for damage.
        """
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(self.file):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.copies_left += 1
            self._run(opcode.name, argument)
        raise EOFError("the pickle has no end")

    def _run(self, opcode: str, argument: Any) -> None:
        if opcode in CONSTANTS:
            self.stack.append(CONSTANTS[opcode]())
        elif opcode in LITERALS:
            self.stack.append(argument)
        elif opcode in STEPS:
            STEPS[opcode](self, argument)
        elif opcode not in ("PROTO", "FRAME"):
            raise RefusedPickleError(f"the instruction {opcode}")

    def last(self, count: int) -> list[Any]:
        """Take the last ``count`` values."""
        start = len(self.stack) - count
        if start < 0:
            raise EOFError("the pickle takes more than it has")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def group(self) -> list[Any]:
        """Take the values since the last mark."""
        return self.last(len(self.stack) - self.marks.pop())

    def counted(self, values: Any) -> Any:
        """Return values that are about to be copied. Raises: ``DamagedFileError`` where that multiplies the file."""
        self.copies_left -= len(values)
        if self.copies_left < 0:
            raise DamagedFileError("it copies its content over and over")
        return values


def _mark(reader: InertReader, _: Any) -> None:
    reader.marks.append(len(reader.stack))


def _remember(reader: InertReader, number: int | None) -> None:
    reader.memo[len(reader.memo) if number is None else number] = reader.stack[-1]


def _recall(reader: InertReader, number: int) -> None:
    reader.stack.append(reader.memo[number])


def _name(reader: InertReader, argument: str | None) -> None:
    if argument is None:
        module, name = reader.last(2)
    else:
        module, _, name = argument.partition(" ")
    reader.stack.append(known_name(module, name))


def _call(reader: InertReader, _: Any) -> None:
    """Describe what a call of the name on the stack would give."""
    name, arguments = reader.last(2)
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise RefusedPickleError(f"a call of {_kind(name)}")
    reader.stack.append(
        reader.rebuild(arguments) if name.pair in names.TENSORS else _described(reader, name, arguments)
    )


def _described(reader: InertReader, name: Name, arguments: tuple[Any, ...]) -> Any:
    if name.pair in names.RECONSTRUCTORS and arguments and isinstance(arguments[0], Name):
        return _described(reader, arguments[0], ())
    if name.is_inert:
        return Inert(str(name), arguments)
    for known, describe in CONTAINERS:
        if name.pair in known:
            return describe(reader, *arguments)
    raise RefusedPickleError(f"a call of {name}")


def _parameter(_: InertReader, data: Any, *__: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise RefusedPickleError("a parameter without a tensor")
    return data


def _mapping(reader: InertReader, items: Any = (), *_: Any) -> dict[Any, Any]:
    """Describe a mapping of pairs, or a counter; the factory of a ``defaultdict`` says nothing of its content."""
    if isinstance(items, dict):
        return dict(reader.counted(items))
    pairs = reader.counted(items) if isinstance(items, list) else []
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise DamagedFileError("it describes a dictionary by something else than pairs")
    return dict(zip(_keys(key for key, _ in pairs), (value for _, value in pairs), strict=True))


def _set(reader: InertReader, values: Any = ()) -> set[Any]:
    return set(_keys(_elements(reader, values)))


def _size(reader: InertReader, values: Any = ()) -> tuple[Any, ...]:
    return tuple(_elements(reader, values))


def _elements(reader: InertReader, values: Any) -> Any:
    if not isinstance(values, list | tuple):
        raise DamagedFileError(f"it describes a container by {_kind(values)}")
    return reader.counted(values)


def _keys(values: Iterable[Any]) -> list[Any]:
    """Return values that are to be hashed. Raises: ``DamagedFileError`` for other than plain ones."""
    keys = list(values)
    for key in keys:
        parts = key if isinstance(key, tuple) and len(key) <= LONGEST_KEY else (key,)
        if not all(isinstance(part, KEYS) for part in parts):
            raise DamagedFileError("it has keys that are neither names nor numbers")
    return keys


def _state(reader: InertReader, _: Any) -> None:
    """Store a state, as data; that of a mapping or a tensor says nothing of its content."""
    target, state = reader.last(2)
    if isinstance(target, Inert):
        for part in state if isinstance(state, tuple) else (state,):
            target.state |= reader.counted(part) if isinstance(part, dict) else {}
    elif not isinstance(target, dict | Tensor):
        raise RefusedPickleError(f"a change of {_kind(target)}")
    reader.stack.append(target)


def _set_items(reader: InertReader, pairs: list[Any]) -> None:
    target = reader.stack[-1]
    items = target.items if isinstance(target, Inert) else target
    if not isinstance(items, dict):
        raise RefusedPickleError(f"items of {_kind(target)}")
    items.update(zip(_keys(pairs[::2]), pairs[1::2], strict=True))


def _extend(reader: InertReader, values: list[Any]) -> None:
    target = reader.stack[-1]
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, set):
        target.update(_keys(values))
    else:
        raise RefusedPickleError(f"elements of {_kind(target)}")


def _dictionary(reader: InertReader, _: Any) -> None:
    pairs = reader.group()
    reader.stack.append({})
    _set_items(reader, pairs)


def _kind(value: Any) -> str:
    return str(value) if isinstance(value, Name) else type(value).__name__


CONTAINERS: tuple[tuple[set[tuple[str, str]], Callable[..., Any]], ...] = (
    (names.PARAMETERS, _parameter),
    (names.MAPPINGS, _mapping),
    (names.SETS, _set),
    (names.SIZES, _size),
)
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
STEPS: dict[str, Callable[[InertReader, Any], Any]] = {
    "MARK": _mark,
    "POP": lambda reader, _: reader.last(1),
    "POP_MARK": lambda reader, _: reader.group(),
    "DUP": lambda reader, _: reader.stack.append(reader.stack[-1]),
    "APPEND": lambda reader, _: _extend(reader, reader.last(1)),
    "APPENDS": lambda reader, _: _extend(reader, reader.group()),
    "ADDITEMS": lambda reader, _: _extend(reader, reader.group()),
    "LIST": lambda reader, _: reader.stack.append(reader.group()),
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.group())),
    "TUPLE1": lambda reader, _: reader.stack.append(tuple(reader.last(1))),
    "TUPLE2": lambda reader, _: reader.stack.append(tuple(reader.last(2))),
    "TUPLE3": lambda reader, _: reader.stack.append(tuple(reader.last(3))),
    "FROZENSET": lambda reader, _: reader.stack.append(frozenset(_keys(reader.group()))),
    "DICT": _dictionary,
    "SETITEM": lambda reader, _: _set_items(reader, reader.last(2)),
    "SETITEMS": lambda reader, _: _set_items(reader, reader.group()),
    "GET": _recall,
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "PUT": _remember,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "GLOBAL": _name,
    "STACK_GLOBAL": _name,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _state,
    "BINPERSID": lambda reader, _: reader.stack.append(reader.persistent(*reader.last(1))),
}
