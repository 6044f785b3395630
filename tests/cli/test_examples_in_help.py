"""The help of every command of both command lines ends with two examples, and each is a command line that is taken."""

import shlex
from importlib import import_module

import pytest

from fsl_explain.cli.manners import examples

APPS = {"fsl-explain": "fsl_explain.cli.app", "retrieval-explain": "retrieval_explain.cli.app"}
COMMANDS = [
    (app, name)
    for app, module in APPS.items()
    for name in import_module(module).app.resolved_commands()
    if not name.startswith("-")
]


def the_app(app):
    return import_module(APPS[app]).app


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_the_help_ends_with_two_examples(app, name, capsys):
    assert import_module(APPS[app]).run([name, "--help"]) == 0
    _, heading, end = capsys.readouterr().out.partition("\nExamples:")
    assert heading
    given = examples(the_app(app).resolved_commands()[name].default_command)
    assert len(given) == 2
    assert end.split() == " ".join(given).split()  # a narrow terminal breaks long lines


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_each_example_is_taken_by_its_command(app, name):
    function = the_app(app).resolved_commands()[name].default_command
    for line in examples(function):
        program, command, *arguments = shlex.split(line.partition(" > ")[0])
        assert (program, command) == (app, name)
        parsed, bound, _ = the_app(app).parse_args([command, *arguments], exit_on_error=False, print_error=False)
        assert parsed is function
        assert bound.arguments or not arguments


def test_the_two_examples_differ_and_show_more_than_the_name():
    for app, name in COMMANDS:
        first, second = examples(the_app(app).resolved_commands()[name].default_command)
        assert first != second
        assert len(second.split()) > 3 or name == "remove"
