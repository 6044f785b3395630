"""How every command behaves: 0, 2 with one sentence for a user's mistake, 130 after Ctrl-C.

Only a ``Mistake``, a wrong command line and the system's complaint about a file become a sentence. Anything else is a
fault of ours and keeps its traceback.
"""

import errno
import inspect
import os
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

import fsl_explain
from episodes.errors import MissingFile, Mistake
from episodes.naming import unknown_name
from fsl_explain.cli.terminal import note, say, shown
from fsl_explain.freed_memory import keep_freed_memory
from fsl_explain.registries import family_of
from fsl_explain.waiting_threads import wait_briefly

TRACEBACK = "--traceback"
EXAMPLES = "Examples\n--------\n"
SHELLS = ("bash", "zsh", "fish")
COMPLETION = """Print what lets a shell complete commands and options with the Tab key.

Parameters
----------
shell
    bash, zsh or fish. bash reads the file of the first example when it starts, zsh that of the second, where its
    folder is in fpath; fish reads ~/.config/fish/completions/NAME.fish.

Examples
--------
NAME completion bash > ~/.local/share/bash-completion/completions/NAME
NAME completion zsh > ~/.zfunc/_NAME
"""
RESULTS = "summary.json"  # written by every command with a folder of results
WITH_WEIGHTS = "transformers"  # the family whose names are folders that hold weights


def new_app(name: str, purpose: str, start: str) -> App:
    """Return a command line without commands; ``start`` is the one to begin with."""
    return App(
        name=name,
        version=fsl_explain.__version__,
        help=f"{purpose}\n\n"
        "Results go to stdout or to the file or folder named with --out, progress to stderr. A mistake in the "
        f"input ends with exit code 2 and one sentence; {TRACEBACK}, with any command, shows where it was found.",
        help_epilogue=f"Start with: {name} {start}",
        suppress_keyboard_interrupt=False,
    )


def add(app: App, *commands: Callable[..., None], name: str | None = None) -> None:
    """Add commands to a command line; the help of each ends with the examples of its docstring."""
    for command in commands:
        lines = "\\\n".join(f"`{example}`" for example in examples(command))
        app.command(command, name=name, help_epilogue=f"Examples:\\\n{lines}")


def examples(command: Callable[..., None]) -> list[str]:
    """Return the examples in the docstring of a command, each a line as one would type it."""
    return (inspect.getdoc(command) or "").partition(EXAMPLES)[2].splitlines()


def add_completion(app: App) -> None:
    """Add the command that prints what lets a shell complete this command line."""
    name = app.name[0]

    def completion(shell: Annotated[str, Parameter(validator=_is_shell)]) -> None:
        script = app.generate_completion(prog_name=name, shell=shell)  # type: ignore[arg-type] # as validated
        say(script.rstrip("\n"), lines=True)

    completion.__doc__ = COMPLETION.replace("NAME", name)
    add(app, completion)


def _is_shell(_hint: object, shell: str) -> None:
    if shell not in SHELLS:
        raise unknown_name("shell", shell, SHELLS)


def run(app: App, arguments: Sequence[str], interrupted: str) -> int:
    """Run a command line and return its exit code; ``interrupted`` is said after Ctrl-C."""
    name, traced = app.name[0], TRACEBACK in arguments
    given = [argument for argument in arguments if argument != TRACEBACK]
    keep_freed_memory()
    wait_briefly()
    try:
        with _warnings_in_one_line(name):
            app(given, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        note(f"{name}: interrupted; {interrupted}")
        return 130
    except (CycloptsError, Mistake, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, Mistake) and not _says_what(error):
            raise
        if traced:
            traceback.print_exception(error)
        else:
            note(f"{name}: {_sentence(error)}")
        return 2
    return 0


@contextmanager
def _warnings_in_one_line(name: str) -> Iterator[None]:
    """Print a warning as one line on stderr, without the place in the code that gave it."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"{name}: {shown(' '.join(str(message).split()))}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def _says_what(error: OSError) -> bool:
    return error.filename is not None or error.errno in (errno.ENOSPC, errno.EDQUOT)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, Mistake):
        if error.filename is None:
            return "the disk is full, and what was to be written is not there; free some space and run it again."
        return f"{error.strerror}: {error.filename}."  # the system says what is wrong with which of the user's files
    if isinstance(error, CycloptsError) and not isinstance(error.__cause__, Mistake):
        return " ".join(str(error).split())
    return str(error.__cause__ if isinstance(error, CycloptsError) else error)


def check_input(path: Path, what: str) -> None:
    """Refuse a file or folder that is not there, before a command starts. Raises: ``FileNotFoundError``."""
    if not path.exists():
        raise MissingFile(f"expected {what}, but {path} does not exist; check the path.")


def check_trained(encoder: str, random: Sequence[str]) -> None:
    """Refuse a network of a family with random weights, where its name stands for a trained one.

    ``random`` are the parts with random weights. A folder of transformers that holds no weights is taken, and they are
    said to be random. Raises: ``ValueError``.
    """
    if family_of(encoder) not in (None, WITH_WEIGHTS) and "network" in random:
        raise Mistake(
            f"expected trained weights for {encoder}, but got none, so that they would be random; give --checkpoint."
        )


def check_results_folder(
    out: Path | None, *, resume: bool = False, overwrite: bool = False, save_maps: bool = False
) -> None:
    """Refuse what cannot become a folder of results, or holds some, before a command starts. Raises: ``ValueError``."""
    if out is None:
        for option in ("--resume" * resume, "--overwrite" * overwrite, "--save-maps" * save_maps):
            if option:
                raise Mistake(f"expected --out with {option}, which is about what that folder holds; add --out FOLDER.")
        return
    if out.exists() and not out.is_dir():
        raise Mistake(f"expected a folder for the results, but {out} is a file; choose another --out.")
    _check_writable(out)
    if (out / RESULTS).exists() and not (resume or overwrite):
        raise Mistake(
            f"expected a folder without results, but {out} holds a {RESULTS}; choose another --out, "
            "or replace them with --overwrite."
        )


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


def check_detail(detail: int, biases: str) -> None:
    """Refuse a detail below 0, and biases apart without one. Raises: ``ValueError``."""
    if detail < 0:
        raise Mistake(f"expected --detail of at least 0, how often the grid is doubled, but got {detail}.")
    if biases != "drawn" and not detail:
        raise Mistake(f"--biases {biases} is of finer maps, but --detail is 0; give --detail 1, or drop it.")
