"""Encoders that a function of the user's makes, ``module:function`` or ``path/to/file.py:function``: its code runs."""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from episodes.errors import MissingFile, Mistake, UnknownName, WrongType
from episodes.naming import unknown_name

Made = TypeVar("Made")


def made_by(name: str, kind: type[Made], options: Mapping[str, Any]) -> Made:
    """Call the user's function with those options that are not None, and return what it makes.

    A module is looked for in the current folder first, then where Python finds its own.

    Raises: ``FileNotFoundError`` for a module or file that is not there; ``LookupError`` for an unknown function or
    option; ``TypeError`` for a function that makes something else; ``ValueError`` for one that fails.
    """
    place, _, attribute = name.rpartition(":")
    given = {option: value for option, value in options.items() if value is not None}
    with _importing_from(Path(place).resolve().parent if place.endswith(".py") else Path.cwd()):
        function = _function(_module(place, name), attribute, name)
        _check_options(function, given, name)
        try:
            made = function(**given)
        except Mistake:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise _failed(name, error) from error
    if not isinstance(made, kind):
        raise WrongType(
            f"expected {name} to return an {kind.__name__}, but got {type(made).__name__}; return "
            f"{kind.__name__}.wrap(network, layer), for example."
        )
    return made


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Let Python look into a folder first while the block runs."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _module(place: str, name: str) -> ModuleType:
    here = Path.cwd().joinpath(*place.split(".")).with_suffix(".py")
    try:
        if place.endswith(".py"):
            return _file(Path(place), f"fsl_explain_own_{Path(place).stem}")
        if here.is_file() and getattr(sys.modules.get(place), "__file__", None) != str(here):
            return _file(here, place)  # the one of this folder, whatever was imported by this name before
        return importlib.import_module(place)
    except Mistake:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise MissingFile(
            f"expected a Python module {place} for the encoder {name}, but there is none in the current folder or "
            "where Python looks; check the name, or give path/to/file.py:function."
        ) from error
    except Exception as error:  # so may its module
        raise _failed(name, error) from error


def _file(path: Path, title: str) -> ModuleType:
    if not path.is_file():
        raise MissingFile(f"expected a Python file with an encoder, but {path} does not exist; check the path.")
    spec = importlib.util.spec_from_file_location(title, path)
    if spec is None:
        raise MissingFile(f"expected a Python file with an encoder, but {path} cannot be read; check the path.")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(title, module)
    # from its source: Python would run the compiled file of before where both were saved within one second
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _function(module: ModuleType, attribute: str, name: str) -> Callable[..., object]:
    found = getattr(module, attribute, None)
    if found is None:
        public = [other for other, value in vars(module).items() if callable(value) and not other.startswith("_")]
        raise unknown_name(f"function of {name.rpartition(':')[0]}", attribute, public)
    if not callable(found):
        raise WrongType(f"expected a function as {name}, but got {type(found).__name__}; name one that makes it.")
    function: Callable[..., object] = found
    return function


def _check_options(function: Callable[..., object], given: Mapping[str, Any], name: str) -> None:
    try:
        inspect.signature(function).bind(**given)
    except TypeError as error:
        raise UnknownName(
            f"expected options that {name} takes, but got {', '.join(given) or 'none'} ({error}); change the options "
            "or the function."
        ) from error
    except ValueError:
        return  # a function of C shows no signature


def _failed(name: str, error: Exception) -> Mistake:
    return Mistake(
        f"expected an encoder from {name}, but its code failed with {type(error).__name__}: {error}; correct it, "
        "--traceback shows where."
    )
