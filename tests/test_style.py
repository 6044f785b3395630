"""Each of the project's rules about its text catches what breaks it, and the project keeps them all."""

from pathlib import Path, PurePosixPath

import pytest
import style

LONG, FULL = "'''A thing.'''\n" * 300, "'''A thing.'''\n" * 299
HOME = "'''The maps.'''\n\ndef maps():\n    '''The map ({}).'''\n"
HOMES = "'''The equations.'''\n" + "".join(f"def e{i}():\n    '''({tag})'''\n" for i, tag in enumerate(style.EQUATIONS))
DEEP = """
def f(a):
    for b in a:
        if b:
            with b:
                if a:
                    b()
"""
FLAT = """
def f(a):
    for b in a:
        if b:
            c()
        elif a:
            with b:
                b()
"""
REMINDER = "TO" + "DO"


def function_of(lines):
    return "def f():\n    '''Count.'''\n" + "    1\n" * lines


# rule: what it must catch, by path and text, with the line; and what it must let pass
EXAMPLES = {
    "short_files": ({"tests/test_maps.py": LONG}, 300, {"tests/test_maps.py": FULL, "docs/maps.md": LONG}),
    "files_named_after_things": ({"fsl_explain/core/maps.py": ""}, 1, {"fsl_explain/score.py": "", "docs/base.md": ""}),
    "short_functions": ({"episodes/a.py": "\n" + function_of(46)}, 2, {"episodes/a.py": function_of(45)}),
    "flat_functions": ({"episodes/a.py": DEEP}, 2, {"episodes/a.py": FLAT, "tests/test_a.py": DEEP}),
    "one_home_per_equation": (
        {"fsl_explain/a.py": HOMES, "fsl_explain/b.py": HOME.format("FAM Eq. 14")},
        3,
        {"fsl_explain/a.py": HOMES, "tests/test_a.py": HOME.format("FAM Eq. 14")},
    ),
    "known_equations": (
        {"fsl_explain/a.py": HOME.format("LaFAM Eq. 3")},
        4,
        {"fsl_explain/a.py": HOME.format("LaFAM Eq. 2"), "docs/a.md": "(FAM Eq. 99)"},
    ),
    "data_sets_know_no_explanations": (
        {"episodes/a.py": "import os\nfrom fsl_explain.heads import pooling\n"},
        2,
        {"episodes/a.py": "from episodes import split\n", "fsl_explain/b.py": "import retrieval_explain.search\n"},
    ),
    "only_the_command_line_prints": (
        {"fsl_explain/report/a.py": "a = 1\nprint(a)\n"},
        2,
        {"fsl_explain/cli/a.py": "print(1)\n", "fsl_explain/cli.py": "print(1)\n", "docs/a.py": "print(1)\n"},
    ),
    "modules_say_what_they_are": ({"episodes/a.py": "a = 1\n"}, 1, {"episodes/a.py": "'''Splits.'''\n"}),
    "annotations_are_evaluated": (
        {"episodes/a.py": "'''Splits.'''\nfrom __future__ import annotations\n"},
        2,
        {"episodes/a.py": "from episodes import annotation\n"},
    ),
    "one_spelling": ({"docs/a.md": "One\nNeigh" + "bouring"}, 2, {"docs/a.md": "a neighboring color"}),
    "no_hosts": ({"docs/a.toml": "\nurl = 'https://pypi" + ".org'"}, 2, {"docs/a.toml": "pypi"}),
    "no_machine_paths": (
        {"docs/a.md": "in\nin /" + "tmp/maps"},
        2,
        {"docs/a.md": "in ../shared/" + "tmp/maps and results/" + "tmp"},
    ),
    "no_tabs": ({"docs/a.md": "a\n\tb\n\tc"}, 2, {"Makefile": "a:\n\tb", "docs/a.csv": "a\tb"}),
    "no_reminders": ({"docs/a.md": f"a\n{REMINDER}: b"}, 2, {"docs/a.md": f"a {REMINDER}S"}),
    "unique_test_files": (
        {"tests/laws/test_a.py": "", "tests/heads/test_a.py": ""},
        1,
        {"tests/laws/test_a.py": "", "tests/references/test_a.py": "", "episodes/a.py": "", "fsl_explain/a.py": ""},
    ),
}


def files_of(texts):
    return [style.File(PurePosixPath(path), text) for path, text in texts.items()]


@pytest.mark.parametrize("rule", style.RULES, ids=lambda rule: rule.__name__)
def test_a_rule_catches_what_breaks_it_and_lets_the_rest_pass(rule):
    bad, line, good = EXAMPLES[rule.__name__]
    (finding,) = rule(files_of(bad))
    assert str(finding).startswith(f"{[*bad][-1]}:{line}: ")
    assert [*rule(files_of(good))] == []


@pytest.mark.parametrize(
    ("rule", "texts", "said"),
    [
        (style.short_files, {"fsl_explain/a.py": LONG}, "at most 299 lines, this one has 300"),
        (style.files_named_after_things, {"tests/heads/utils.py": ""}, "'utils' names no thing"),
        (style.flat_functions, {"episodes/a.py": DEEP}, "f has 4"),
        (
            style.one_home_per_equation,
            {"fsl_explain/a.py": HOMES.replace("(FAM Eq. 22)", "")},
            "no docstring says (FAM Eq. 22)",
        ),
        (
            style.data_sets_know_no_explanations,
            {"episodes/a.py": "import retrieval_explain\n"},
            "imports retrieval_explain",
        ),
        (style.no_hosts, {"Makefile": "index-" + "url"}, "names the package host"),
        (
            style.unique_test_files,
            {"tests/a/test_a.py": "", "tests/b/test_a.py": ""},
            "tests/a/test_a.py has the same name",
        ),
    ],
)
def test_a_finding_says_what_is_wrong(rule, texts, said):
    (finding,) = rule(files_of(texts))
    assert said in finding.sentence


@pytest.mark.parametrize("word", [*style.BRITISH, *map(str.upper, style.BRITISH)])
def test_every_british_word_is_caught(word):
    assert len([*style.one_spelling(files_of({"README.md": f"a {word}s"}))]) == 1


def test_levels_are_those_a_reader_sees():
    """An elif is no level, a function in a function begins anew, and each kind of block counts."""
    levels = {"if a:\n  b\nelif c:\n  d": 1, "def f():\n  if a:\n    b": 0}
    levels |= {"try:\n  a\nexcept E:\n  if b:\n    c": 2, "try:\n  a\nfinally:\n  if b:\n    c": 2}
    levels |= {"match a:\n  case 1:\n    if b:\n      c": 2, "for a in b:\n  c\nelse:\n  if d:\n    e": 2}
    for text, expected in levels.items():
        assert style.nesting(style.ast.parse(text).body) == expected, text


def test_the_whole_checkout_is_read_and_keeps_every_rule(capsys):
    files = style.tracked()
    assert len(style.sources(files)) > 50
    assert {"README.md", "tests/test_style.py", "Makefile"} <= {str(file.path) for file in files}
    assert style.main() == 0
    assert capsys.readouterr().out == ""


def test_a_broken_rule_ends_the_command_with_its_place(capsys, monkeypatch):
    monkeypatch.setattr(style, "tracked", lambda: files_of({"episodes/a.py": "print(1)\n"}))
    monkeypatch.setattr(style, "EQUATIONS", [])
    assert style.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        "episodes/a.py:1: only the command line prints; return the text, or report it",
        "episodes/a.py:1: the module has no docstring; say in a sentence what it is",
    ]


def test_a_checkout_without_sources_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(style, "tracked", list)
    monkeypatch.setattr(style, "EQUATIONS", [])
    assert style.main() == 1
    assert "found no source" in capsys.readouterr().out


@pytest.mark.parametrize("git", [True, False])
def test_the_listing_needs_no_git(git, tmp_path, monkeypatch):
    for name in ("episodes/a.py", "tests/test_a.py", "README.md", "picture.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("'''A.'''")
    if git:
        style.subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    else:
        monkeypatch.setenv("PATH", str(Path("nowhere")))
    assert {str(file.path) for file in style.tracked(tmp_path)} == {"episodes/a.py", "tests/test_a.py", "README.md"}
