"""Where a bank on a Milvus server is: ``milvus://host:port/collection``."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from episodes.errors import Mistake

SCHEME, ENCRYPTED = "milvus", "milvus+tls"
PORT, TIMEOUT = 19530, 30.0
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")  # of 255 that the server takes; a bank's collections add to it
EXPECTED = "milvus://host:port/collection"


@dataclass(frozen=True)
class Address:
    """A server, one of its databases ("": the usual one), and the name of the bank there.

    ``host`` and ``port`` are the server's, ``collection`` is the bank's name, ``encrypted`` says whether the connection
    is by TLS, and ``timeout`` how many seconds the server may be silent.
    """

    host: str
    port: int
    database: str
    collection: str
    encrypted: bool = False
    timeout: float = field(default=TIMEOUT, compare=False)

    @property
    def server(self) -> str:
        """The server as its client takes it."""
        return f"{'https' if self.encrypted else 'http'}://{self.place}"

    @property
    def place(self) -> str:
        """The server as a sentence names it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The last part, as a folder has a name."""
        return self.collection

    @property
    def with_timeout(self) -> str:
        """The whole address as a text, with the timeout where it is not the usual one."""
        return str(self) if self.timeout == TIMEOUT else f"{self}?timeout={self.timeout:g}"

    def __str__(self) -> str:
        parts = [ENCRYPTED if self.encrypted else SCHEME, f"://{self.place}/", self.database, "/" * bool(self.database)]
        return "".join([*parts, self.collection])


def is_address(place: object) -> bool:
    """Say whether a text is the address of a server, whether or not it is right."""
    return isinstance(place, Address) or (isinstance(place, str) and re.match(r"milvus[+\w]*:", place) is not None)


def as_address(text: str) -> Address:
    """Read an address; ``?timeout=SECONDS`` is how long the server may be silent, 30 by default.

    Raises: ``ValueError`` for anything but a server, a database where there is one, and a collection.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _wrong(text, "its host is none") from None
    if "#" in text:
        raise _wrong(text, "# has no meaning in it")
    if parts.scheme not in (SCHEME, ENCRYPTED):
        raise _wrong(text, f"its scheme is none of {SCHEME} and {ENCRYPTED}")
    if not parts.hostname:
        raise Mistake(
            f"expected {EXPECTED}, but {text} names no server; for a local file start milvus-lite server on it, in an "
            "environment of its own, because its faiss-cpu and the faiss of this software overwrite each other."
        )
    if parts.username or parts.password:
        raise Mistake(
            f"expected {EXPECTED}, but got a user in the address; give user:password as MILVUS_TOKEN in the "
            "environment."
        )
    names = parts.path.strip("/").split("/")
    for name in names:
        if len(names) > 2 or not NAME.fullmatch(name):
            raise _wrong(text, "a collection has a name of letters, digits and _, and of at most 200")
    database = names[0] if len(names) == 2 else ""
    return Address(parts.hostname, _port(parts, text), database, names[-1], parts.scheme == ENCRYPTED, _timeout(text))


def as_place(text: str | Path | Address) -> Path | Address:
    """Return where a bank is: an address on a server, or a folder. Raises: as ``as_address``."""
    if isinstance(text, Address):
        return text
    return as_address(text) if isinstance(text, str) and is_address(text) else Path(text)


def _port(parts: SplitResult, text: str) -> int:
    try:
        return PORT if parts.port is None else parts.port
    except ValueError:
        raise _wrong(text, "its port is no number from 0 to 65535") from None


def _timeout(text: str) -> float:
    options = dict(parse_qsl(urlsplit(text).query, keep_blank_values=True))
    wanted = options.pop("timeout", str(TIMEOUT))
    if options or not re.fullmatch(r"\d{1,6}(\.\d+)?", wanted) or not float(wanted):
        raise _wrong(text, "it may end in ?timeout=SECONDS alone")
    return float(wanted)


def _wrong(text: str, why: str) -> Mistake:
    return Mistake(f"expected {EXPECTED}, but got {text!r:.200}: {why}.")
