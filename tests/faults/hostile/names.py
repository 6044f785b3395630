"""Names as markup, code or commands: of classes, files and titles, in terminals, tables, pages and receipts."""

from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from faults.hostile.runner import Case
from fixtures.tiny_encoder import images, tiny_encoder
from markupsafe import escape
from PIL import Image

from episodes import ImageFolder
from fsl_explain import explain
from fsl_explain.cli.progress import show_table
from fsl_explain.evaluation import Table
from fsl_explain.report import Case as PageCase
from fsl_explain.report import Page, render_page

NAMES = (
    *("[red]bird", "[/x]", "[", "]]", "[bold", "[link=file:///]x[/link]", "[@click=app.bell]x", ":smiley:", "\\[red]"),
    *("\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a\x07b", "a\bb", "a\rb", "a\nb", "a\tb", "a\x00b", "\x7f"),
    *(
        "\u202egpj.exe",
        "\u2066x\u2069",
        "a\u200bb",
        "\ufeffx",
        "e\u0301" * 30,
        "\U0001f426",
        "\u0645\u0631\u062d\u0628\u0627",
    ),
    *(
        "<script>alert(1)</script>",
        '"onmouseover="x',
        "'><img src=x>",
        "</script>",
        "&lt;b&gt;",
        "<!--",
        "]]>",
        "{{7*7}}",
    ),
    *(
        "{% raw %}",
        "${x}",
        "$(id)",
        "`id`",
        "; rm -rf x",
        "| cat",
        "&& ls",
        "%s%n",
        "{0.__class__}",
        "%(x)s",
        "$x_1^2$",
    ),
    *("$", "$$", "\\frac{", "_a^b", "#1", "~", "\\input{x}", "=1+1", "+1", "-1", "@SUM(A1)", "|a|b|", "*b*", "# head"),
    *("../up", "..", "/root", "C:\\x", "con", "a/b", "x" * 5000, " ", "  two  ", "None", "nan", "0", "-", "--help"),
)


def cases(folder: Path) -> Iterator[Case]:
    """Yield each name in a table of the terminal, in a receipt, on a page and as the folder of a class."""
    for number, name in enumerate(NAMES):
        shown = f"{name[:20]!r}"
        yield f"{shown} in a table", partial(_table, name), _is_plain
        yield f"{shown} in a receipt", partial(_receipt, name), _is_plain
        yield f"{shown} on a page", partial(_page, name), partial(_is_quoted, name)
        if name not in ("..", ".") and not set(name) & set("/\0") and len(name.encode()) < 250:
            yield (
                f"{shown} as a class",
                partial(_class, folder / str(number), name),
                lambda found, name=name: found == name,
            )


def _table(name: str) -> str:
    out = StringIO()
    with redirect_stdout(out):
        show_table(Table(name, ("name", name), ((name, name),), (name,)))
    return out.getvalue()


def _explained(name: str):
    supports = {name: images(1, seed=1), "other": images(1, seed=2)}
    return explain(tiny_encoder(), images(1, seed=3)[0], supports, method="contrast")


def _receipt(name: str) -> str:
    return str(_explained(name).receipt())


def _page(name: str) -> str:
    case = PageCase(title=name, explanations={"contrast": _explained(name)})
    return render_page(Page(title=name, lead=name, facts={name: name}, cases=(case,)))


def _class(folder: Path, name: str) -> str:
    place = folder / name
    place.mkdir(parents=True)
    Image.new("RGB", (2, 2)).save(place / "a.png")
    return ImageFolder(folder)[0].class_name


def _is(name: str, found: object) -> bool:
    return found == name


def _is_plain(printed: object) -> bool:
    """Nothing that a terminal obeys, and no line that a name began."""
    return isinstance(printed, str) and not set(printed) & set("\x1b\x9b\x07\x08\r\x00\x7f\u202e\u2066\u2069")


def _is_quoted(name: str, page: object) -> bool:
    return isinstance(page, str) and ("<" not in name or (name not in page and str(escape(name)) in page))


torch.set_num_threads(1)
