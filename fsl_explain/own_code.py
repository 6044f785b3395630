"""Code of the user's own, named ``module:function`` or ``path/to/file.py:function`` in options and settings: it runs.

A module is looked for in the current folder first, then where Python finds its own.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from episodes.errors import MissingFile, Mistake, WrongType
from episodes.naming import unknown_name

LOADED: dict[str, str] = {}
"""The files of the modules that were loaded here, by name: other processes load them again to use what they made."""

SOURCE = "__fsl_explain_source__"


@contextmanager
def importing_for(name: str) -> Iterator[None]:
    """Let Python look first into the folder of a file, or else the current one, while the block runs."""
    place = name.rpartition(":")[0]
    folder = Path(place).resolve().parent if place.endswith(".py") else Path.cwd()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def found_object(name: str, what: str) -> object:
    """Import what a name stands for, within ``importing_for``; ``what`` says in words what it should be.

    Raises: ``FileNotFoundError`` for a module or file that is not there; ``LookupError`` for an unknown name in it;
    ``ValueError`` for code that fails.
    """
    place, _, attribute = name.rpartition(":")
    module = _module(place, name, what)
    found: object = getattr(module, attribute, None)
    if found is None:
        public = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise unknown_name(f"function of {place}", attribute, public)
    return found


def found_function(name: str, what: str) -> Callable[..., object]:
    """Import a function. Raises: as ``found_object``, and ``TypeError`` for what is none."""
    return as_function(found_object(name, what), name)


def as_function(found: object, name: str) -> Callable[..., object]:
    """Return what was found under a name as a function. Raises: ``TypeError`` for what is none."""
    if not callable(found):
        raise WrongType(f"expected a function as {name}, but got {type(found).__name__}; name one that makes it.")
    return found


def load_again(title: str, file: str) -> None:
    """Load a module of ``LOADED``, in another process, so that what is pickled finds it by its name."""
    with importing_for(f"{file}:"):
        sys.modules[title] = _file(Path(file), title, f"the module {title}")


def failed(name: str, what: str, error: Exception) -> Mistake:
    """Return the mistake of code that failed."""
    return Mistake(
        f"expected {what} from {name}, but its code failed with {type(error).__name__}: {error}; correct it, "
        "--traceback shows where."
    )


def _module(place: str, name: str, what: str) -> ModuleType:
    here = Path.cwd().joinpath(*place.split(".")).with_suffix(".py")
    try:
        if place.endswith(".py"):
            return _file(Path(place), _title(Path(place)), what)
        if here.is_file() and (place in LOADED or getattr(sys.modules.get(place), "__file__", None) != str(here)):
            return _file(here, place, what)  # the one of this folder, whatever was imported by this name before
        return importlib.import_module(place)
    except Mistake:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise failed(name, what, error) from error
        kind = what.rpartition(" ")[2]
        raise MissingFile(
            f"expected a Python module {place} for the {kind} {name}, but there is none in the current "
            "folder or where Python looks; check the name, or give path/to/file.py:function."
        ) from error
    except Exception as error:  # its code may fail in any way
        raise failed(name, what, error) from error


def _title(path: Path) -> str:
    """Return the name of the module of a file, that of no other file."""
    file, wanted = str(path.resolve()), f"fsl_explain_own_{path.stem}"
    titles = (wanted, *(f"{wanted}_{number}" for number in range(2, len(LOADED) + 3)))
    return next(title for title in titles if LOADED.get(title, file) == file)


def _file(path: Path, title: str, what: str) -> ModuleType:
    """Run a file as a module, once as long as it does not change, so that all who name it share what is in it."""
    if not path.is_file():
        raise MissingFile(f"expected a Python file with {what}, but {path} does not exist; check the path.")
    file, source, before = str(path.resolve()), path.read_bytes(), sys.modules.get(title)
    if before is not None and LOADED.get(title) == file and before.__dict__.get(SOURCE) == source:
        return before
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None:
        raise MissingFile(f"expected a Python file with {what}, but {path} cannot be read; check the path.")
    module = importlib.util.module_from_spec(spec)
    if before is None or title in LOADED:  # not in the place of somebody else's module
        sys.modules[title] = module
    try:
        # from its source: Python would run the compiled file of before where both were saved within one second
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:  # what failed here made nothing to be found later
        if sys.modules.get(title) is module:
            sys.modules.pop(title)
            LOADED.pop(title, None)
        raise
    module.__dict__[SOURCE] = source
    LOADED[title] = file
    return module
