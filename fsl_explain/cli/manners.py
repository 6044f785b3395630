"""How every command ends: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError

from episodes.errors import Mistake


def run(app: App, arguments: Sequence[str], interrupted: str) -> int:
    """Run a command line and return its exit code; ``interrupted`` is said after Ctrl-C."""
    name = app.name[0]
    try:
        app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(name, str(error))
    except KeyboardInterrupt:
        print(f"{name}: interrupted; {interrupted}", file=sys.stderr)
        return 130
    except Mistake as error:
        return _complain(name, str(error))
    except OSError as error:  # of the user's own files: the system says what is wrong with which
        if error.filename is None:
            raise
        return _complain(name, f"{error.strerror}: {error.filename}.")
    return 0


def check_results_folder(out: Path | None) -> None:
    """Refuse what cannot become a folder of results, before a command starts. Raises: ``ValueError``."""
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise Mistake(f"expected a folder for the results, but {out} is a file; choose another --out.")
    _check_writable(out)


def check_output_file(out: Path | None) -> None:
    """Refuse what cannot become a file, before a command starts. Raises: ``ValueError``."""
    if out is None:
        return
    if out.is_dir():
        raise Mistake(f"expected a file to write, but {out} is a folder; name a file in it with --out.")
    _check_writable(out.parent)


def _check_writable(folder: Path) -> None:
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise Mistake(f"expected a folder to write to, but {there} is a file; choose another --out.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise Mistake(f"expected a folder to write to, but {there} is read-only; choose another --out.")


def _complain(name: str, sentence: str) -> int:
    print(f"{name}: {' '.join(sentence.split())}", file=sys.stderr)
    return 2
