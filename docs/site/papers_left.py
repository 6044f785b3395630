"""Sphinx extension: ``{papers-left}`` lists every place of the source that is marked DEVIATION, in its own words."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from type_names import OURS

MARK = "DEVIATION:"


class Left(NamedTuple):
    """One place where a paper is left."""

    module: str
    name: str
    words: str


class PapersLeft(SphinxDirective):
    """The places, as a list of definitions."""

    def run(self) -> list[nodes.Node]:
        """Return the list, and let the page be made anew when a source with a mark changes."""
        root = Path(self.env.app.srcdir).parent
        found = nodes.definition_list()
        for left in sorted(places(root)):
            term = nodes.term("", "", nodes.literal("", f"{left.module}.{left.name}".rstrip(".")))
            body = nodes.definition("", nodes.paragraph("", left.words.replace("``", "")))
            found += nodes.definition_list_item("", term, body)
        return [found]


def places(root: Path) -> Iterator[Left]:
    """Yield every marked place of the packages: in docstrings, and in comments."""
    for path in (file for package in OURS for file in sorted((root / package).rglob("*.py"))):
        text = path.read_text(encoding="utf-8")
        if MARK in text:
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            yield from (Left(module, name, words) for name, words in marked(text))


def marked(text: str) -> Iterator[tuple[str, str]]:
    """Yield the name of what each mark describes, and the words from the mark to the end of its paragraph."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                if MARK in paragraph:
                    yield getattr(node, "name", ""), " ".join(paragraph.partition(MARK)[2].split())
    lines = text.splitlines()
    for place, line in enumerate(lines):
        code, hash_, comment = line.partition("#")
        if hash_ and MARK in comment:
            yield (code.split("=")[0].strip() if "=" in code else ""), following(lines, place)


def following(lines: list[str], place: int) -> str:
    """Return a comment's words with those of the comment lines right below it."""
    words = [lines[place].partition(MARK)[2].strip()]
    for line in lines[place + 1 :]:
        if not line.strip().startswith("#"):
            break
        words.append(line.strip().lstrip("# "))
    return " ".join(words)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("papers-left", PapersLeft)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
