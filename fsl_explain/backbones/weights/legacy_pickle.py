"""PyTorch's checkpoint files read without running anything: the archives of today, and the pickles of before 2020.

The older layout is five pickles one behind the other (a magic number, a version, facts of the machine, the content,
the keys of its storages) and then the storages' bytes.
"""

import math
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsl_explain.backbones.weights.inert_pickle import InertReader
from fsl_explain.backbones.weights.pickle_names import STORAGES, DamagedFileError, Name, RefusedPickleError

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
PROTOCOL = b"\x80"  # how every pickle of a protocol that PyTorch writes begins
HEADER_BYTES = 8
MAX_DIMENSIONS = 32
LOCAL_HEADER = 30  # bytes before the name of an entry, which ends with the lengths of that name and of what follows it

Allocate = Callable[[str, torch.dtype, int], Tensor]
"""Makes room for a storage of so many elements, by its key."""


class _Bounded:
    """A file that never reads, or makes room for, more than it still has."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.left = file, size
        self.tell, self.readinto = file.tell, file.readinto

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        return self._counted(self.file.read(min(count, self.left)))

    def readline(self) -> bytes:
        """Return the bytes up to the next line feed."""
        return self._counted(self.file.readline())

    def _counted(self, found: bytes) -> bytes:
        self.left -= len(found)
        return found


class StorageView:
    """Some elements of a storage, which tensors are views of."""

    def __init__(self, data: Tensor, first: int, count: int) -> None:
        self.data: Tensor = data
        self.first: int = first
        self.count: int = count


class Storages:
    """The storages that a pickle names; their bytes come later, and never more than the file has."""

    def __init__(self, file_bytes: int, allocate: Allocate) -> None:
        self.free_bytes: int = file_bytes
        self.allocate = allocate
        self.data: dict[str, Tensor] = {}
        self.unread: set[str] = set()

    def named(self, saved_id: Any) -> Any:
        """Return what a persistent id stands for: elements of a storage, or the name of a module's class."""
        if not isinstance(saved_id, tuple) or not saved_id:
            raise RefusedPickleError("a persistent id of unknown form")
        if saved_id[0] == "module" and len(saved_id) == 4 and isinstance(saved_id[1], Name):
            return saved_id[1]
        if saved_id[0] != "storage" or len(saved_id) not in (5, 6):
            raise RefusedPickleError("a persistent id of unknown form")
        kind, key, _, count = saved_id[1:5]
        if not (isinstance(kind, Name) and kind.pair in STORAGES and isinstance(key, str)):
            raise RefusedPickleError("a persistent id of unknown form")
        data = self._data(key, DTYPES[kind.name.removesuffix("Storage")], _natural(count))
        view = saved_id[5] if len(saved_id) == 6 else None
        if view is None:
            return StorageView(data, 0, len(data))
        if not isinstance(view, tuple) or len(view) != 3:
            raise RefusedPickleError("a persistent id of unknown form")
        _, first, size = view
        return StorageView(data, _natural(first), _natural(size))

    def _data(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in self.data:
            self.free_bytes -= count * dtype.itemsize
            if self.free_bytes < 0:
                raise DamagedFileError("its tensors claim more bytes than it has")
            self.data[key] = self.allocate(key, dtype, count)
            self.unread.add(key)
        if len(self.data[key]) != count or self.data[key].dtype != dtype:
            raise DamagedFileError(f"it describes the storage {key} twice, and differently")
        return self.data[key]

    def fill(self, key: str, file: Any) -> None:
        """Read the bytes of one storage from ``file``."""
        data = self.data.get(key)
        if data is None:
            raise DamagedFileError(f"it holds a storage {key} that nothing names")
        if len(data) and file.readinto(data.view(torch.uint8).numpy().data) != data.nbytes:
            raise DamagedFileError(f"the storage {key} ends early")
        self.unread.discard(key)


def rebuild(arguments: tuple[Any, ...]) -> Tensor:
    """Return the view of a storage that a pickle describes by offset, shape and strides."""
    view, offset, shape, strides = arguments[:4]
    if not isinstance(view, StorageView) or not all(isinstance(counts, list | tuple) for counts in (shape, strides)):
        raise DamagedFileError("it describes a tensor without a storage")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise DamagedFileError("it describes a tensor of an impossible shape")
    sizes, steps = [_natural(size) for size in shape], [_natural(step) for step in strides]
    last = _natural(offset) + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    end = view.first + (last + 1 if math.prod(sizes) else 0)
    if end > min(view.first + view.count, len(view.data)) or math.prod(sizes) > view.count:
        raise DamagedFileError("it describes a tensor that is larger than its storage")
    return view.data.as_strided(sizes, steps, view.first + offset)


def _natural(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise DamagedFileError("it describes a tensor by something else than counts")
    return value


def read_inert(path: Path, mapped: bool = False) -> Any:
    """Return the content of a PyTorch file, live objects as records.

    With ``mapped`` the tensors of an archive stay in the file until they are used.

    Raises: ``RefusedPickleError`` for a name that is not on the lists; ``MemoryError``; anything else for a damaged
    file.
    """
    if zipfile.is_zipfile(path):
        return _read_archive(path, mapped)
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(1) != PROTOCOL:
            raise DamagedFileError("it is no checkpoint of PyTorch")
        file.seek(0)
        return _read_pickles(_Bounded(file, size), size)


def _read_pickles(file: "_Bounded", size: int) -> Any:
    storages = Storages(size, _empty)
    reader = InertReader(file, storages.named, rebuild)
    first = reader.read()
    if first != MAGIC or reader.read() != VERSION:
        raise DamagedFileError("it is no checkpoint of PyTorch")
    facts = reader.read()
    if not isinstance(facts, dict) or not facts.get("little_endian", True):
        raise DamagedFileError("it was written on a machine of another byte order")
    content = reader.read()
    for key in _listed(reader.read()):
        count = int.from_bytes(file.read(HEADER_BYTES), "little")
        if key in storages.data and count != len(storages.data[key]):
            raise DamagedFileError(f"the storage {key} has another size than its tensors say")
        storages.fill(key, file)
    if storages.unread:
        raise DamagedFileError("it lacks a storage")
    return content


def _listed(keys: Any) -> list[Any]:
    if not isinstance(keys, list):
        raise DamagedFileError("it has no list of its storages")
    return keys


def _read_archive(path: Path, mapped: bool) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        content = next((name for name in entries if name.endswith("/data.pkl")), None)
        folder = (content or "").removesuffix("data.pkl")
        read = (content, f"{folder}byteorder", *(name for name in entries if name.startswith(f"{folder}data/")))
        packed = [name for name in read if name in entries and entries[name].compress_type != zipfile.ZIP_STORED]
        if content is None or packed:
            raise DamagedFileError("it is no checkpoint of PyTorch")
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise DamagedFileError("it was written on a machine of another byte order")
        storages = Storages(path.stat().st_size, partial(_mapped, path, archive, folder) if mapped else _empty)
        with archive.open(content) as file:
            bounded = _Bounded(file, entries[content].file_size)
            parsed = InertReader(bounded, storages.named, rebuild).read()
        for key in () if mapped else storages.data:
            with archive.open(f"{folder}data/{key}") as file:
                storages.fill(key, file)
    return parsed


def _empty(_: str, dtype: torch.dtype, count: int) -> Tensor:
    try:
        return torch.empty(count, dtype=dtype)
    except RuntimeError as error:
        raise MemoryError(f"no room for {count} elements of {dtype}") from error


def _mapped(path: Path, archive: zipfile.ZipFile, folder: str, key: str, dtype: torch.dtype, count: int) -> Tensor:
    """Return a storage that stays in an archive."""
    entry = archive.getinfo(f"{folder}data/{key}")
    archive.open(entry).close()  # checks the header in front of it
    if entry.file_size < count * dtype.itemsize:
        raise DamagedFileError(f"the storage {key} ends early")
    if not count:
        return torch.empty(0, dtype=dtype)
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(LOCAL_HEADER)
    lengths = sum(int.from_bytes(header[start : start + 2], "little") for start in (26, 28))
    first = entry.header_offset + LOCAL_HEADER + lengths
    values = np.memmap(path, np.uint8, "c", first, (count * dtype.itemsize,))
    return torch.from_numpy(values).view(dtype)
