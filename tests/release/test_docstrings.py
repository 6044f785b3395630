"""Every name of the public face is documented: functions, classes, methods, properties, modules and constants.

What is public is read off the stubs by which the packages show their names, so that a new name is asked for its words.
"""

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FACES = sorted(
    ".".join(stub.parent.relative_to(ROOT).parts)
    for package in ("episodes", "fsl_explain", "retrieval_explain")
    for stub in (ROOT / package).rglob("__init__.pyi")
)
CALLED = ("__call__", "__getitem__")  # magic methods that are the point of a class


def homes(face):
    """Each name that a stub shows, with the module that it comes from, which is itself for a module."""
    package = import_module(face)
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            inside = ".".join(filter(None, (face, node.module))) if node.level else node.module
            for alias in node.names:
                yield alias.asname or alias.name, inside


def public(face):
    package = import_module(face)
    named = dict(homes(face))
    return [(name, named.get(name, face), getattr(package, name)) for name in package.__all__]


def has_words_below(module, name):
    """Whether a string stands below the assignment of a name, or a comment behind it, where the name is from."""
    file = Path(import_module(module).__file__)
    if file.with_suffix(".pyi").exists():
        return has_words_below(dict(homes(module))[name], name)
    source = file.read_text(encoding="utf-8")
    body = ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            is_text = isinstance(following, ast.Expr) and isinstance(getattr(following.value, "value", None), str)
            return is_text or "#" in source.splitlines()[node.end_lineno - 1].rpartition('"')[2]
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
            return has_words_below(node.module, name)
    return False


def members(thing):
    """The public methods and properties that a class itself has, and those of its magic that are its point."""
    for name, member in vars(thing).items():
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        is_member = inspect.isfunction(plain) or isinstance(plain, property) or hasattr(plain, "attrname")
        if is_member and (not name.startswith("_") or name in CALLED):
            yield name


def untold(thing):
    """The fields of a dataclass that its docstring does not name; a comment beside one is seen in the source alone."""
    words = thing.__doc__.replace("_", " ")
    for field in dataclasses.fields(thing):
        if not field.name.startswith("_") and not re.search(rf"\b{field.name.replace('_', ' ')}\b", words):
            yield field.name


def without_words(name, module, thing):
    """What of one public name has no docstring, by dotted names."""
    if isinstance(thing, ModuleType):
        if not thing.__doc__:
            yield name
        for inner, function in inspect.getmembers(thing, inspect.isfunction):
            if function.__module__ == thing.__name__ and not inner.startswith("_") and not function.__doc__:
                yield f"{name}.{inner}"
    elif inspect.isclass(thing):
        own = vars(thing).get("__doc__") or ""
        if not own or (dataclasses.is_dataclass(thing) and own.startswith(f"{thing.__name__}(")):
            yield name
        yield from (f"{name}.{member}" for member in members(thing) if not inspect.getdoc(getattr(thing, member)))
    elif inspect.isfunction(thing):
        if not thing.__doc__:
            yield name
    elif not has_words_below(module, name):
        yield name


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_documented(face):
    assert import_module(face).__doc__
    names = public(face)
    assert names
    assert [found for name, module, thing in names for found in without_words(name, module, thing)] == []


@pytest.mark.parametrize("face", FACES)
def test_help_tells_of_every_field(face):
    shown = [thing for _, _, thing in public(face) if dataclasses.is_dataclass(thing)]
    assert [f"{thing.__name__}.{field}" for thing in shown for field in untold(thing)] == []


def test_a_package_shows_dataclasses():
    for package in ("episodes", "fsl_explain", "retrieval_explain"):
        assert sum(dataclasses.is_dataclass(thing) for _, _, thing in public(package)) > 4


def test_what_has_no_words_is_found():
    class Bare:
        def method(self): ...

        @property
        def value(self): ...

        def __call__(self): ...

    def function(): ...

    @dataclasses.dataclass
    class Fields:
        """It has a told one."""

        told: int
        noted: int  # a note
        left_out: int

    assert [*untold(Fields)] == ["noted", "left_out"]
    assert [*without_words("Bare", __name__, Bare)] == ["Bare", "Bare.method", "Bare.value", "Bare.__call__"]
    assert [*without_words("function", __name__, function)] == ["function"]
    assert [*without_words("FACES", __name__, FACES)] == ["FACES"]
    assert [*without_words("CALLED", __name__, CALLED)] == []
