"""PyTorch's checkpoint files read without running anything: the archives of today, and the pickles of before 2020.

The older layout is five pickles one behind the other (a magic number, a version, facts of the machine, the content,
the keys of its storages) and then the storages' bytes.
"""

import math
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fsl_explain.backbones.inert_pickle import InertReader
from fsl_explain.backbones.pickle_names import STORAGES, Name, RefusedPickleError

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
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


class DamagedFileError(ValueError):
    """A file whose parts do not fit together."""


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
        self.data, self.first, self.count = data, first, count


class Storages:
    """The storages that a pickle names; their bytes come later, and never more than the file has."""

    def __init__(self, file_bytes: int) -> None:
        self.free_bytes = file_bytes
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
        _, first, size = view
        return StorageView(data, _natural(first), _natural(size))

    def _data(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        if key not in self.data:
            self.free_bytes -= count * dtype.itemsize
            if self.free_bytes < 0:
                raise DamagedFileError("its tensors claim more bytes than it has")
            self.data[key] = torch.empty(count, dtype=dtype)
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
    if not isinstance(view, StorageView) or len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise DamagedFileError("it describes a tensor without a storage")
    sizes, steps = [_natural(size) for size in shape], [_natural(step) for step in strides]
    last = _natural(offset) + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    end = view.first + (last + 1 if math.prod(sizes) else 0)
    if end > min(view.first + view.count, len(view.data)):
        raise DamagedFileError("it describes a tensor that is larger than its storage")
    return view.data.as_strided(sizes, steps, view.first + offset)


def _natural(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise DamagedFileError("it describes a tensor by something else than counts")
    return value


def read_inert(path: Path) -> Any:
    """Return the content of a PyTorch file, live objects as records.

    Raises: ``RefusedPickleError`` for a name that is not on the lists; anything else for a damaged file.
    """
    if zipfile.is_zipfile(path):
        return _read_archive(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(1) != PROTOCOL:
            raise DamagedFileError("it is no checkpoint of PyTorch")
        file.seek(0)
        return _read_pickles(_Bounded(file, size), size)


def _read_pickles(file: "_Bounded", size: int) -> Any:
    storages = Storages(size)
    reader = InertReader(file, storages.named, rebuild)
    first = reader.read()
    if first != MAGIC or reader.read() != VERSION:
        raise DamagedFileError("it is no checkpoint of PyTorch")
    facts = reader.read()
    if not isinstance(facts, dict) or not facts.get("little_endian", True):
        raise DamagedFileError("it was written on a machine of another byte order")
    content = reader.read()
    for key in reader.read():
        count = int.from_bytes(file.read(HEADER_BYTES), "little")
        if key in storages.data and count != len(storages.data[key]):
            raise DamagedFileError(f"the storage {key} has another size than its tensors say")
        storages.fill(key, file)
    if storages.unread:
        raise DamagedFileError("it lacks a storage")
    return content


def _read_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        content = next((name for name in entries if name.endswith("/data.pkl")), None)
        if content is None or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise DamagedFileError("it is no checkpoint of PyTorch")
        folder = content.removesuffix("data.pkl")
        storages = Storages(path.stat().st_size)
        with archive.open(content) as file:
            bounded = _Bounded(file, entries[content].file_size)
            parsed = InertReader(bounded, storages.named, rebuild).read()
        for key in storages.data:
            with archive.open(f"{folder}data/{key}") as file:
                storages.fill(key, file)
    return parsed
