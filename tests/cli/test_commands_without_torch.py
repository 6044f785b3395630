"""Help, versions and mistakes that the arguments show are answered without loading anything heavy.

The commands and their options are read off the two command lines, so that a new one is tested as it is added.
"""

import inspect
import json
import subprocess
import sys
from importlib import import_module
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from cyclopts import Parameter
from pydantic import AfterValidator

from fsl_explain.config.data import DataOptions
from fsl_explain.config.strict import Settings

HEAVY = ("torch", "torchvision", "numpy", "faiss", "matplotlib", "sklearn", "pyarrow", "scipy")
APPS = {"fsl-explain": "fsl_explain.cli.app", "retrieval-explain": "retrieval_explain.cli.app"}
COMMANDS = [
    (app, name, command.default_command)
    for app, module in APPS.items()
    for name, command in import_module(module).app.resolved_commands().items()
    if not name.startswith("-")
]
each_command = pytest.mark.parametrize(
    ("app", "name", "function"), COMMANDS, ids=lambda value: getattr(value, "__name__", value)
)

RUNNER = """
import contextlib, io, json, sys
from importlib import import_module
run = import_module(sys.argv[1]).run
for arguments in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = run(arguments)
    loaded = [name for name in json.loads(sys.argv[2]) if name in sys.modules]
    print(json.dumps({"arguments": arguments, "code": code, "said": said.getvalue(), "loaded": loaded}))
"""
SETTINGS = {
    "figure": 'models = [{title = "one", encoder = {name = "conv4net"}}]',
    "train": 'output = "weights.safetensors"',
}
"""What the settings of a command need beside their data."""


def answers(app, calls):
    """Run calls of one command line in one process; return what each said, and what was loaded after it."""
    lines = subprocess.run(
        [sys.executable, "-c", RUNNER, APPS[app], json.dumps(HEAVY)],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert len(found) == len(calls)
    return found


def options(function):
    """The parameters of a command, each with its option and whether it is checked as a name."""
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        notes = [note for note in get_args(hint)[1:] if isinstance(note, Parameter)] if _is_annotated(hint) else []
        names = [given for note in notes for given in note.name if given.startswith("--")]
        yield name, parameter, (names or [f"--{name.replace('_', '-')}"])[0], any(note.validator for note in notes)


def _is_annotated(hint):
    return get_origin(hint) is Annotated


def complete(name, function, folder):
    """Arguments with which a command would begin its work."""
    given = []
    for option, parameter, flag, checked in options(function):
        if option == "config":
            path = folder / f"{name}.toml"
            path.write_text(f'{SETTINGS.get(name, "")}\n[data]\nkind = "digit-scenes"\nper_class = 4\n')
            given += [flag, str(path)]
        elif parameter.kind is parameter.VAR_POSITIONAL or (
            parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ):
            given.append(str(folder))
        elif parameter.default is parameter.empty:
            given += [flag, "conv4net" if checked else str(folder / ("new.png" if option == "out" else ""))]
    return given


def mistakes(name, function, folder):
    """Calls of a command with one mistake each, as its options allow."""
    whole = complete(name, function, folder)
    (folder / "file").write_text("x")
    yield [name, "--no-such-option", *whole]
    for option, parameter, flag, checked in options(function):
        given = without(whole, flag)
        if checked:
            yield [name, *given, flag, "no-such-name"]
        if option == "config":
            yield [name, *given, flag, str(folder / "nowhere.toml")]
        if option == "set_":
            yield from ([name, *whole, flag, change] for change in wrong_settings(function))
        if option == "out":
            yield [name, *given, flag, str(folder / "file" / "in" / "it.png")]
        if option == "limit":
            yield [name, *whole, flag, "0"]
        if option == "resume" and "out" in inspect.signature(function).parameters:
            yield [name, *whole, flag]
        if option in ("query", "images", "file", "checkpoint") and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            yield [name, *(str(folder / "nowhere") if one == str(folder) else one for one in whole)]


def wrong_settings(function):
    """Changes of settings with an unknown section, key and kind, and with an unknown name for each that is one."""
    yield from ("no such change", "nonsense.key=1", "data.knd='cub'", "data.kind='no-such-kind'", "run.device.x=1")
    settings = [
        thing for thing in vars(import_module(function.__module__)).values() if isinstance(thing, type(Settings))
    ]
    fields = [field for model in settings if model is not DataOptions for field in named_fields(model)]
    assert fields
    yield from fields


def named_fields(model, above=""):
    """Changes that give each setting that is checked as a name one that is not there."""
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type(Settings)):
            yield from () if issubclass(kind, DataOptions) else named_fields(kind, f"{above}{key}.")
        elif any(isinstance(note, AfterValidator) for note in field.metadata) and kind is str:
            yield f"{above}{key}='no-such-name'"
        elif get_origin(kind) is tuple and _is_annotated(get_args(kind)[0]):
            yield f"{above}{key}=['no-such-name']"


def without(arguments, flag):
    at = arguments.index(flag) if flag in arguments else len(arguments)
    return [*arguments[:at], *arguments[at + 2 :]]


@pytest.mark.parametrize("app", APPS)
def test_help_and_version(app):
    names = [name for of, name, _ in COMMANDS if of == app]
    calls = [["--help"], ["--version"], *([name, "--help"] for name in names)]
    for answer in answers(app, calls):
        assert answer["code"] == 0, answer
        assert answer["loaded"] == [], answer


@each_command
def test_a_mistake_in_the_arguments(app, name, function, tmp_path):
    calls = [["no-such-command"], *mistakes(name, function, tmp_path)]
    assert len(calls) > 1
    for answer in answers(app, calls):
        assert answer["code"] == 2, answer
        assert answer["said"].startswith(f"{app}: "), answer
        assert answer["said"].count("\n") == 1, answer
        assert answer["loaded"] == [], answer
