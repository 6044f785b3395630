"""How a user's file is opened for reading: only a regular file, so that no pipe hangs and no device fills memory."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from episodes.errors import MissingFile, Mistake, TooLarge

FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
PIECE = 1 << 20
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: str | Path, *, what: str = "file", limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading its bytes; the kind is that of the opened file, not of its name.

    Args:
        path: the file; a link is followed.
        what: what the file should be, as the errors call it: "image", "table".
        limit: the most bytes it may have; None for any number.

    Raises:
        FileNotFoundError: there is no such file, or a link leads nowhere.
        ValueError: it is a folder, pipe, socket or device, may not be read, or has more bytes than the limit.
    """
    descriptor = _opened(path, what)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _other_kind(path, what, status.st_mode)
        if limit is not None and status.st_size > limit:
            raise _too_large(path, what, limit)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise


def read_regular(path: str | Path, *, what: str = "file", limit: int) -> bytes:
    """Return the bytes of a regular file, at most ``limit``, even if it says fewer than it gives.

    ``what`` is what messages call the file.

    Raises: as ``open_regular``, and ``ValueError`` for one that cannot be read.
    """
    with open_regular(path, what=what, limit=limit) as stream:
        try:
            content = stream.read(min(os.fstat(stream.fileno()).st_size, limit) + 1) or b""  # None: it would wait
            while len(content) <= limit and (more := stream.read(min(PIECE, limit + 1 - len(content)))):
                content += more
        except OSError as error:
            raise Mistake(f"the {what} {path} cannot be read ({error.strerror}); check it.") from error
    if len(content) > limit:
        raise _too_large(path, what, limit)
    return content


def _opened(path: str | Path, what: str) -> int:
    flags = os.O_RDONLY
    for name in FLAGS:
        flags |= getattr(os, name, 0)
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        raise MissingFile(f"the {what} {path} does not exist; check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        mode = None
        with suppress(OSError, ValueError):
            mode = Path(path).stat().st_mode
        if mode is not None and not stat.S_ISREG(mode):
            raise _other_kind(path, what, mode) from None
        raise _unreadable(path, what, error) from error


def _unreadable(path: str | Path, what: str, error: OSError | ValueError) -> Mistake:
    number = error.errno if isinstance(error, OSError) else errno.EINVAL
    if number in (errno.EACCES, errno.EPERM):
        return Mistake(f"expected {_a(what)} that may be read, but {path} may not; change its permissions.")
    if number == errno.ELOOP:
        return MissingFile(f"the {what} {path} is a link that leads back to itself; give the file itself.")
    reason = getattr(error, "strerror", None) or error
    shown = str(path) if len(str(path)) <= 300 else f"{str(path)[:300]}…"
    return Mistake(f"expected {_a(what)}, but {shown!r} cannot be opened ({reason}); check the path.")


def _other_kind(path: str | Path, what: str, mode: int) -> Mistake:
    kind = next((name for is_kind, name in KINDS if is_kind(mode)), "no regular file")
    return Mistake(f"expected {_a(what)}, but {path} is {kind}; give one file.")


def _too_large(path: str | Path, what: str, limit: int) -> TooLarge:
    return TooLarge(f"expected {_a(what)} of at most {limit:,} bytes, but {path} has more; make it smaller.")


def _a(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
