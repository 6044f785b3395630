"""Encoders that a function of the user's makes, ``module:function`` or ``path/to/file.py:function``: its code runs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from episodes.errors import Mistake, UnknownName, WrongType
from fsl_explain.own_code import failed, found_function, importing_for

Made = TypeVar("Made")
AN_ENCODER = "an encoder"


def made_by(name: str, kind: type[Made], options: Mapping[str, Any]) -> Made:
    """Call the user's function with those options that are not None, and return what it makes.

    A module is looked for in the current folder first, then where Python finds its own.

    Raises: ``FileNotFoundError`` for a module or file that is not there; ``LookupError`` for an unknown function or
    option; ``TypeError`` for a function that makes something else; ``ValueError`` for one that fails.
    """
    given = {option: value for option, value in options.items() if value is not None}
    with importing_for(name):
        function = found_function(name, AN_ENCODER)
        _check_options(function, given, name)
        try:
            made = function(**given)
        except Mistake:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise failed(name, AN_ENCODER, error) from error
    if not isinstance(made, kind):
        raise WrongType(
            f"expected {name} to return an {kind.__name__}, but got {type(made).__name__}; return "
            f"{kind.__name__}.wrap(network, layer), for example."
        )
    return made


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
