"""What a docstring of the public face says: what is raised, by its kind, each argument, and the shapes of tensors.

These are properties that a program can see. A class answers for what its ``__init__`` and ``__post_init__`` do, and for
methods that it has from another class of ours. "As ``name``" takes over what the docstring of another public name says.
"""

import ast
import builtins
import functools
import inspect
import re
import textwrap
import types
import typing
from dataclasses import dataclass, is_dataclass
from typing import NoReturn

import numpy as np
import pytest
from jaxtyping import Float
from test_docstrings import CALLED, FACES, public
from torch import Tensor

from episodes import errors
from episodes.errors import Mistake, UnknownName
from episodes.naming import unknown_name

OURS = ("episodes", "fsl_explain", "retrieval_explain", __name__)
MADE_BY = {"unknown_name": UnknownName, "MissingPackage.of_extra": errors.MissingPackage}
"""Functions that make what is raised."""
NAMED = (ValueError, TypeError, LookupError, OSError, ImportError)
SHAPED = re.compile(r"\b(Float|Int|Int64|UInt8|Bool|Shaped|Num|Literal)\[")
USUAL = (
    *("encoder", "explanation", "query", "supports", "images", "labels", "classes", "way", "similarity", "rule"),
    *("batch_size", "device", "dtype", "generator", "seed", "position", "index"),
    *("path", "folder", "root", "title"),
)
"""Arguments that are the same everywhere, and named after what they are."""
MADE = ("__init__", "__post_init__", "__new__")
CHOICES = (types.UnionType, typing.Union, tuple)
RAISES = re.compile(r"\bRaises?\b")


def is_ours(thing):
    return (getattr(thing, "__module__", None) or "").split(".")[0] in OURS


def functions_of(name, thing):
    """The functions behind a public name: the dotted name by which each is found, itself, and its words."""
    if isinstance(thing, types.ModuleType):
        for inner, function in inspect.getmembers(thing, inspect.isfunction):
            if function.__module__ == thing.__name__ and not inner.startswith("_"):
                yield f"{name}.{inner}", function, function.__doc__ or ""
    elif inspect.isclass(thing) and not issubclass(thing, Exception):
        yield from methods_of(name, thing)
    elif inspect.isfunction(thing):
        yield name, thing, thing.__doc__ or ""


def methods_of(name, thing):
    others = [kind for kind in thing.__mro__ if kind is not object and not is_ours(kind)]
    for kind in (kind for kind in thing.__mro__ if is_ours(kind)):
        for method, member in vars(kind).items():
            plain = getattr(member, "__func__", getattr(member, "fget", getattr(member, "func", member)))
            role = any(method in vars(other) for other in others)  # of another library, which tells of it
            if not inspect.isfunction(plain) or not is_ours(plain) or role:
                continue
            if method in MADE:
                yield name, plain, "\n".join(filter(None, (kind.__doc__, thing.__doc__, plain.__doc__)))
            elif not method.startswith("_") or method in CALLED:
                yield f"{name}.{method}", plain, plain.__doc__ or inspect.getdoc(getattr(thing, method)) or ""


def body_of(function):
    """The statements of a function; none where there is no text of it, as of what a dataclass writes."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return []
    (tree,) = ast.parse(source).body
    return tree.body if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef) else []


def walked(statements):
    """Every node of statements but those of functions and classes inside of them."""
    for node in statements:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from walked(ast.iter_child_nodes(node))


def raised(function):
    """The kinds of exceptions that the own body of a function raises by name."""
    for node in walked(body_of(function)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            made = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
            found = MADE_BY.get(made) or getattr(errors, made, None) or getattr(builtins, made, None)
            if inspect.isclass(found) and issubclass(found, NAMED):
                yield found


def names_of(kind):
    """The names by which a docstring may tell of a kind: ours, or the one of Python's that says most."""
    own = [one for one in kind.__mro__ if one.__module__ == "builtins" and issubclass(one, NAMED)]
    special = [one for one in own if one is not ValueError and one is not OSError]
    return {kind.__name__, *(one.__name__ for one in special or own)}


@functools.cache
def every_docstring():
    """The docstrings of all public names by their last word."""
    found = {}
    for name, _, thing in (entry for face in FACES for entry in public(face)):
        found[name] = thing.__doc__ or ""
        for dotted, _, words in functions_of(name, thing):
            found.setdefault(dotted.rpartition(".")[2], words)
    return found


def with_what_it_refers_to(words):
    """A docstring with those that it takes over, as in "Raises: as ``explain``"."""
    there = re.findall(r"\b(?:as|in|see|of|by) (?:in |of |that of )?``(?:\w+\.)*(\w+)(?:\(\))?``", words, re.IGNORECASE)
    return "\n".join([words, *(every_docstring().get(name, "") for name in there)])


def without_a_word_of_errors(name, thing):
    """What raises, and does not say so."""
    for dotted, function, words in functions_of(name, thing):
        if [*raised(function)] and not RAISES.search(words):
            yield dotted


def with_other_errors(name, thing):
    """What says that it raises, and leaves out a kind."""
    for dotted, function, words in functions_of(name, thing):
        told = with_what_it_refers_to(words)
        for kind in dict.fromkeys(raised(function)):
            if RAISES.search(words) and not any(one in told for one in names_of(kind)):
                yield f"{dotted} raises {kind.__name__}"


def arguments_of(function):
    """Names and types of a function's arguments; none of one that refuses whatever it is given."""
    signature = inspect.signature(inspect.unwrap(function))
    if signature.return_annotation is not NoReturn:
        for one in signature.parameters.values():
            is_one = one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
            if is_one and one.name not in ("self", "cls") and not one.name.startswith("_"):
                yield one.name, one.annotation


def tells_by_its_type(annotation):
    """Whether a type says what an argument is: a shape, the values that there are, or a class of ours."""
    text = inspect.formatannotation(annotation)
    return bool(SHAPED.search(text)) or is_ours(annotation) or any(f"{package}." in text for package in OURS)


def is_told(argument, words):
    """Whether words speak of an argument: each word of its name stands there, in singular or plural, or it is usual."""
    stems = [re.sub(r"(?<=\w\w)(es|s)$", "", word) for word in argument.split("_")]
    plain = words.replace("_", " ")
    return argument in USUAL or all(re.search(rf"\b{stem}", plain, flags=re.IGNORECASE) for stem in stems)


def untold_arguments(name, thing):
    """Arguments of which neither docstring nor type says anything."""
    for dotted, function, words in functions_of(name, thing):
        if function.__name__ == "__getitem__" or (is_dataclass(thing) and dotted == name):
            continue  # a place is given in brackets, and fields have words of their own
        told = f"{with_what_it_refers_to(words)}\n{thing.__doc__}"
        for argument, annotation in arguments_of(function):
            if not (is_told(argument, told) or tells_by_its_type(annotation)):
                yield f"{dotted}({argument})"


def tensors_without_a_shape(name, thing):
    """Arguments and results that may be any tensor or array, while no word in brackets says of which shape."""
    for dotted, function, words in functions_of(name, thing):
        back = inspect.signature(inspect.unwrap(function)).return_annotation
        for argument, annotation in [*arguments_of(function), ("return", back)]:
            parts = typing.get_args(annotation) if typing.get_origin(annotation) in CHOICES else (annotation,)
            plain = any(one is Tensor or one is np.ndarray for one in parts)
            says = re.search(r"\([^()]*,[^()]*\)|\bshapes?\b", f"{with_what_it_refers_to(words)}\n{thing.__doc__}")
            if plain and argument != "labels" and not says:
                yield f"{dotted}({argument})"


CHECKS = (without_a_word_of_errors, with_other_errors, untold_arguments, tensors_without_a_shape)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("face", FACES)
def test_docstrings_say(face, check):
    assert [found for name, _, thing in public(face) for found in check(name, thing)] == []


def silent(values: Tensor, count: int, shaped: Float[Tensor, "row"], **more: int) -> Tensor:
    """Do it."""
    if count < 0:
        raise Mistake("no")

    def inner():
        raise UnknownName("of another function")

    return values + shaped + len(more) + bool(inner)


def telling(values: Tensor, count: int, other_values: Tensor) -> Tensor:
    """Return ``count`` rows (count, channel) of values and other values. Raises: ``LookupError``."""
    if count < 0:
        raise unknown_name("count", str(count), ())
    if count > 9:
        raise TypeError
    return values[:count] + other_values


@dataclass
class Refusing:
    """It is made of a size."""

    size: int

    def __post_init__(self):
        if self.size < 0:
            raise Mistake("no")

    def taken(self, share: float) -> NoReturn:
        """Refuse. Raises: ``ValueError``."""
        raise Mistake(f"no {share}")


def test_what_is_not_said_is_found():
    found = {check: [*check("it", silent)] for check in CHECKS}
    assert found[without_a_word_of_errors] == ["it"]
    assert found[with_other_errors] == []
    assert found[untold_arguments] == ["it(values)", "it(count)"]
    assert found[tensors_without_a_shape] == ["it(values)", "it(return)"]
    assert [told for check in CHECKS for told in check("it", telling)] == ["it raises TypeError"]
    assert [told for check in CHECKS for told in check("Refusing", Refusing)] == ["Refusing"]
    assert [*raised(Refusing.__post_init__)] == [Mistake]
