"""Mistakes of the user: one kind of exception, whose message is one sentence (expected, got, do this).

The commands turn a ``Mistake`` into that sentence and exit code 2; any other exception is a fault of ours and keeps its
traceback. Each kind is also the exception that Python itself raises there, so that callers may catch either.
"""


class Mistake(ValueError):
    """What the user gave does not fit; the message says what was expected, what was got, and what to do."""


class UnknownName(Mistake, LookupError):
    """A name, index or id that is not there; the message has the nearest ones that are."""


class MissingFile(Mistake, FileNotFoundError):
    """A file or folder that does not exist."""


class WrongType(Mistake, TypeError):
    """A value of another type than the public face takes."""


class TooLarge(Mistake, MemoryError):
    """A file or request that memory cannot hold."""


class MissingPackage(Mistake, ImportError):
    """An optional package that is not installed; the message names the extra that brings it."""

    @classmethod
    def of_extra(cls, extra: str, packages: str, what: str) -> "MissingPackage":
        """The error that ``what`` needs ``packages``, which an extra of this distribution brings."""
        return cls(f"{what} needs {packages}, not installed here; run: pip install 'fsl-explain[{extra}]'.")


class Busy(Mistake, BlockingIOError):
    """A file or folder that another process is writing."""


class DiskFull(Mistake, OSError):
    """A disk without room for what was to be written."""


class WorkerLost(Mistake, RuntimeError):
    """A process that worked for this one ended again and again."""
