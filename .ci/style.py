"""The project's own rules about its text: short files named after things, one home per equation, one spelling.

Run at the end of ``make lint``. Every line it prints says where a rule is broken and what to do.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("episodes", "fsl_explain", "retrieval_explain")
TEXT = {".py", ".md", ".toml", ".txt", ".lock", ".html", ".csv", ".cfg", ".yml", ".yaml", ".json", ".ipynb", ""}
GRAB_BAGS = {"utils", "util", "helpers", "common", "misc", "tools", "base", "core", "shared"}
EQUATIONS = [
    *(f"FAM Eq. {number}" for number in (11, 12, 13, 14, 15, 18, 19, 20, 21, 22)),
    "LaFAM Eq. 1",
    "LaFAM Eq. 2",
]
# Written in pieces, so that this file obeys its own rules.
BRITISH = ("norm" + "alis", "neigh" + "bour", "col" + "our", "cent" + "re", "behav" + "iour", "vis" + "ualis")
OTHERS_NAMES = ("norm" + "alise_features",)  # of arguments of other libraries
HOSTS = ("pypi" + ".org", "python" + "hosted", "arti" + "factory", "download.pytorch" + ".org", "index-" + "url")
MACHINE_PATHS = re.compile(r"(?<![\w.~/])/(?:work|tmp|home|root|mnt|Users)/[\w.]")
REMINDERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
FILE_LINES, FUNCTION_LINES, LEVELS = 299, 45, 3


@dataclass(frozen=True)
class File:
    """A text of the checkout, and its syntax tree if it is Python."""

    path: PurePosixPath
    text: str

    @property
    def is_source(self) -> bool:
        return self.path.suffix == ".py" and self.path.parts[0] in PACKAGES

    @property
    def is_test(self) -> bool:
        return self.path.suffix == ".py" and self.path.parts[0] == "tests"

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(ast.parse(self.text)))

    @cached_property
    def functions(self) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
        return [node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    def where(self, pattern: str | re.Pattern[str]) -> Iterator[tuple[int, str]]:
        """Every match, with the number of its line."""
        for match in re.finditer(pattern, self.text):
            yield self.text.count("\n", 0, match.start()) + 1, match.group()


class Finding(NamedTuple):
    """One broken rule: where, and what to do."""

    path: PurePosixPath
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


Found = Iterator[Finding]


def sources(files: Sequence[File]) -> list[File]:
    return [file for file in files if file.is_source]


def nesting(statements: Sequence[ast.stmt]) -> int:
    """The deepest level of indentation inside a list of statements."""
    deepest = 0
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        inner = [getattr(statement, name, []) for name in ("body", "finalbody")]
        inner += [handler.body for handler in getattr(statement, "handlers", [])]
        inner += [case.body for case in getattr(statement, "cases", [])]
        alternative = getattr(statement, "orelse", [])
        chained = isinstance(statement, ast.If) and len(alternative) == 1 and isinstance(alternative[0], ast.If)
        levels = [1 + nesting(block) for block in inner if block]
        levels += [nesting(alternative) if chained else 1 + nesting(alternative)] if alternative else []
        deepest = max([deepest, *levels])
    return deepest


def short_files(files: Sequence[File]) -> Found:
    for file in files:
        lines = len(file.text.splitlines())
        if (file.is_source or file.is_test) and lines > FILE_LINES:
            yield Finding(file.path, lines, f"a file has at most {FILE_LINES} lines, this one has {lines}; split it")


def files_named_after_things(files: Sequence[File]) -> Found:
    for file in files:
        bags = GRAB_BAGS & {*file.path.parts, file.path.stem}
        if (file.is_source or file.is_test) and bags:
            yield Finding(file.path, 1, f"'{min(bags)}' names no thing; name file and folder after what they hold")


def statements_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return function.body[1:] if ast.get_docstring(function) else function.body


def short_functions(files: Sequence[File]) -> Found:
    for file in sources(files):
        for function in file.functions:
            body = statements_of(function)
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > FUNCTION_LINES:
                sentence = f"a function has at most {FUNCTION_LINES} lines, {function.name} has {lines}; split it"
                yield Finding(file.path, function.lineno, sentence)


def flat_functions(files: Sequence[File]) -> Found:
    for file in sources(files):
        for function in file.functions:
            levels = nesting(statements_of(function))
            if levels > LEVELS:
                sentence = f"a function has at most {LEVELS} levels of indentation, {function.name} has {levels}"
                yield Finding(file.path, function.lineno, f"{sentence}; give the inner block a name")


def homes(files: Sequence[File], tag: str) -> Iterator[tuple[File, int]]:
    """Each docstring that holds the tag, by its file and the line of what it describes."""
    for file in sources(files):
        for node in file.nodes:
            described = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if described and f"({tag})" in (ast.get_docstring(node) or ""):
                yield file, getattr(node, "lineno", 1)


def one_home_per_equation(files: Sequence[File]) -> Found:
    for tag in EQUATIONS:
        found = [*homes(files, tag)]
        if not found:
            yield Finding(PurePosixPath("fsl_explain"), 1, f"no docstring says ({tag}); tag the equation's one home")
        for file, line in found[1:]:
            yield Finding(file.path, line, f"({tag}) has a home already, {found[0][0].path}; keep the tag in one")


def known_equations(files: Sequence[File]) -> Found:
    for file in sources(files):
        for line, tag in file.where(r"\((?:La)?FAM Eq\. \d+\)"):
            if tag[1:-1] not in EQUATIONS:
                yield Finding(file.path, line, f"{tag} is no equation of the list; correct it, or list it in EQUATIONS")


def imported(file: File) -> Iterator[tuple[int, str]]:
    for node in file.nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def data_sets_know_no_explanations(files: Sequence[File]) -> Found:
    for file in sources(files):
        for line, name in imported(file):
            if file.path.parts[0] == "episodes" and name.startswith(("fsl_explain", "retrieval_explain")):
                yield Finding(file.path, line, f"episodes imports {name}; data sets know nothing of explanations")


def only_the_command_line_prints(files: Sequence[File]) -> Found:
    for file in sources(files):
        for node in file.nodes:
            is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if is_print and "cli" not in {*file.path.parts, file.path.stem}:
                yield Finding(file.path, node.lineno, "only the command line prints; return the text, or report it")


def modules_say_what_they_are(files: Sequence[File]) -> Found:
    for file in sources(files):
        if not ast.get_docstring(ast.parse(file.text)):
            yield Finding(file.path, 1, "the module has no docstring; say in a sentence what it is")


def annotations_are_evaluated(files: Sequence[File]) -> Found:
    for file in sources(files):
        for line, name in imported(file):
            if name == "__future__":
                yield Finding(file.path, line, "imports from __future__, but shapes are checked; leave it out")


def one_spelling(files: Sequence[File]) -> Found:
    pattern = re.compile(f"(?!{'|'.join(OTHERS_NAMES)})(?:{'|'.join(BRITISH)})", re.IGNORECASE)
    for file in files:
        for line, word in file.where(pattern):
            yield Finding(file.path, line, f"'{word}' is British spelling; use the American one")


def no_hosts(files: Sequence[File]) -> Found:
    for file in files:
        for line, host in file.where("|".join(map(re.escape, HOSTS))):
            yield Finding(file.path, line, f"names the package host '{host}'; leave it out")


def no_machine_paths(files: Sequence[File]) -> Found:
    for file in files:
        for line, path in file.where(MACHINE_PATHS):
            yield Finding(file.path, line, f"'{path}...' is a path of one machine; write a relative one")


def no_tabs(files: Sequence[File]) -> Found:
    for file in files:
        if file.path.name != "Makefile" and file.path.suffix != ".csv":
            for line, _ in [*file.where("\t")][:1]:
                yield Finding(file.path, line, "holds a tab; indent with spaces")


def no_reminders(files: Sequence[File]) -> Found:
    for file in files:
        for line, word in file.where(REMINDERS):
            yield Finding(file.path, line, f"{word} is a reminder; do it or open an issue")


def unique_test_files(files: Sequence[File]) -> Found:
    """Without packages pytest tells test files apart by their names alone."""
    named = defaultdict(list)
    for file in files:
        if file.is_test and file.path.parent.name != "references":
            named[file.path.name].append(file.path)
    for first, *others in named.values():
        yield from (Finding(path, 1, f"{first} has the same name; rename one of them") for path in others)


RULES: tuple[Callable[[Sequence[File]], Found], ...] = (
    short_files,
    files_named_after_things,
    short_functions,
    flat_functions,
    one_home_per_equation,
    known_equations,
    data_sets_know_no_explanations,
    only_the_command_line_prints,
    modules_say_what_they_are,
    annotations_are_evaluated,
    one_spelling,
    no_hosts,
    no_machine_paths,
    no_tabs,
    no_reminders,
    unique_test_files,
)


def tracked(root: Path = ROOT) -> list[File]:
    """Every text of the checkout that git tracks or would track; without git, every source, test and document."""
    listing = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        code = [path for folder in (*PACKAGES, "tests") for path in sorted((root / folder).rglob("*.py"))]
        names = [path.relative_to(root).as_posix() for path in (*code, *root.glob("*.md"), *root.glob("*.toml"))]
    paths = [PurePosixPath(name) for name in names if PurePosixPath(name).suffix in TEXT and (root / name).is_file()]
    return [File(path, (root / path).read_text(encoding="utf-8")) for path in paths]


def main() -> int:
    files = tracked()
    findings = sorted(finding for rule in RULES for finding in rule(files))
    for finding in findings:
        print(finding)
    if not sources(files):
        print(f"{ROOT}: expected the packages {', '.join(PACKAGES)}, found no source; run this from its checkout")
    return 1 if findings or not sources(files) else 0


if __name__ == "__main__":
    sys.exit(main())
