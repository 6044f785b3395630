"""Names of a user reach the terminal as they are: never as markup, and never as commands to the terminal."""

import ast
from pathlib import Path

import pytest

import fsl_explain
import retrieval_explain
from fsl_explain.cli.app import run
from fsl_explain.cli.progress import note, progress_bars, say, show_table
from fsl_explain.cli.terminal import shown
from fsl_explain.evaluation import Table
from retrieval_explain.cli.app import run as run_retrieval

MARKUP = (
    "[red]bird",
    "[/x]",
    "photos [backup]/a.jpg",
    "[link=file:///x]here[/link]",
    "a  b",
    ":smile:",
    "$x",
    "naïve 鳥",
)
OBEYED = {
    "\x1b[31mred": r"\x1b[31mred",
    "bell\x07": r"bell\x07",
    "one\ntwo": r"one\ntwo",
    "back\rfront": r"back\rfront",
    "\x9b31m": r"\x9b31m",
    "\u202egnp.exe": r"\u202egnp.exe",
    "\u2067x\u2069": r"\u2067x\u2069",
    "half \udcff": r"half \udcff",
    "line\u2028break": r"line\u2028break",
    "nothing\x00": r"nothing\x00",
}
NAMES = {name: name for name in MARKUP} | OBEYED
each_name = pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=[ascii(name) for name in NAMES])
COMMANDS = sorted(
    file for package in (fsl_explain, retrieval_explain) for file in Path(package.__file__).parent.rglob("cli/**/*.py")
)
PICTURES = [
    file for folder in ("pictures", "report") for file in (Path(fsl_explain.__file__).parent / folder).glob("*.py")
]
WRITING = {"set_title", "set_xlabel", "set_ylabel", "suptitle", "annotate", "text"}


def raw(text, keep="\n"):
    return [character for character in text if shown(character, keep) != character]


@each_name
def test_every_part_of_a_table_is_printed_as_it_is(capsys, name, expected):
    show_table(Table(name, ("name", name), ((name, "1"),), (f"note: {name}",)))
    printed = capsys.readouterr().out
    assert printed.count(expected) == 4
    assert not raw(printed)


@each_name
def test_lines_notes_and_bars_are_printed_as_they_are(capsys, name, expected):
    say(name)
    note(name)
    with progress_bars() as report:
        report(name, 1, 2)
    printed = capsys.readouterr()
    assert printed.out == f"{expected}\n"
    assert printed.err.startswith(f"{expected}\n")
    assert expected in printed.err.partition("\n")[2]
    assert not raw(printed.err)


@each_name
@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (run, ["explain", "{}", "--support", "{}", "--out", "{}.html"]),
        (run, ["evaluate", "--config", "{}"]),
        (run, ["table", "{}", "--layout", "{}"]),
        (run, ["{}"]),
        (run, ["demo", "--{}"]),
        (run_retrieval, ["search", "--query", "{}", "--bank", "{}"]),
        (run_retrieval, ["build", "--images", "{}", "--bank", "{}"]),
        (run_retrieval, ["{}"]),
    ],
)
def test_a_mistake_with_a_name_is_one_line(capsys, command, arguments, name, expected):
    assert command([argument.format(name) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not raw(said)


def test_names_of_errors_keep_their_spaces(capsys):
    assert run(["evaluate", "--config", "two  spaces.toml"]) == 2
    assert "two  spaces.toml" in capsys.readouterr().err


def _calls(file):
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("file", COMMANDS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_commands_print_through_one_door(file):
    if file.stem == "terminal":
        return
    printing = [call.lineno for call in _calls(file) if getattr(call.func, "id", "") == "print"]
    # what a command writes for other programs, a table as Markdown, is no text for a terminal
    assert not printing or file.stem == "table", f"{file.name} prints in the lines {printing}: use say or note"
    if file.stem != "progress":
        assert "rich" not in file.read_text().split()


def test_no_text_of_a_picture_is_mathematics():
    calls = [(file.name, call) for file in PICTURES for call in _calls(file)]
    drawn = [(file, call) for file, call in calls if getattr(call.func, "attr", "") in WRITING and call.keywords]
    assert drawn
    for file, call in drawn:
        assert any(given.arg == "parse_math" for given in call.keywords), f"{file}:{call.lineno} reads $ as mathematics"
