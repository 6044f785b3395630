"""The page as one HTML file that needs nothing beside it and nothing from elsewhere."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from episodes.errors import Mistake
from fsl_explain.evaluation import Table
from fsl_explain.files import written_aside
from fsl_explain.report.case_view import case_view
from fsl_explain.report.page import Page
from fsl_explain.report.rows_view import rows_view
from fsl_explain.report.standing_pair import as_script, page_script, script_hash, style
from fsl_explain.report.wording import HOW_TO_READ, HOW_TO_READ_PROMPTS

BREAKS = re.compile(r"([_/\\]|\.(?=\w)|-(?=\w))")
TEMPLATES = Path(__file__).parent


def render_page(page: Page) -> str:
    """Return the page as the text of one HTML file: styles and pictures inside, no script but its own, no address.

    What the page holds in words is escaped, so that a name of a file or class is no markup.
    """
    cases = [case_view(case) for case in page.cases]
    chips = distinct([case.title for case in cases])
    prompted = any(case.prompted for case in cases)
    how_to_read = (*HOW_TO_READ, HOW_TO_READ_PROMPTS) if prompted else HOW_TO_READ
    return render("page.html", page=page, cases=cases, chips=chips, rows=rows_view(page.rows), how_to_read=how_to_read)


def distinct(titles: Sequence[str]) -> list[str]:
    """Number the titles that read alike, so that each link has words of its own."""
    seen: Counter[str] = Counter()
    numbered = []
    for title in titles:
        seen[title] += 1
        numbered.append(f"{title} ({seen[title]} of {titles.count(title)})" if titles.count(title) > 1 else title)
    return numbered


def told(table: Table) -> list[int]:
    """Return the columns of a table that say anything; one that is dashes or nothing in every row does not."""
    silent = ("", "–", "-")
    columns = range(len(table.columns))
    return [
        place
        for place in columns
        if place < table.names or not table.rows or any(row[place].strip() not in silent for row in table.rows)
    ]


def breaking(text: str) -> Markup:
    """Let a long name of a file or a class break behind its marks, rather than inside a word."""
    return Markup(BREAKS.sub(r"\1<wbr>", str(escape(text))))


def render(template: str, *folders: Path, **values: object) -> str:
    """Fill a template of these folders, which may extend and include those of a page."""
    environment = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = told
    environment.filters["breaking"] = breaking
    environment.filters["for_script"] = lambda said: Markup(as_script(said))
    text = environment.get_template(template).render(view=None, **values)
    if 'class="standing-pair"' not in text:
        return text
    return environment.get_template(template).render(view=View(script_hash(), style(), page_script()), **values)


@dataclass(frozen=True)
class View:
    """The script of a page with views to point at, its style, and the hash that allows it."""

    hash: str
    style: str
    script: str


def write_page(page: Page, path: str | Path) -> None:
    """Write the page to one HTML file, making its folder if need be; an interruption leaves no half page.

    Raises: ``ValueError`` when the path is a folder, or lies in something that is not one.
    """
    write_html(render_page(page), path)


def write_html(text: str, path: str | Path) -> None:
    """Write a page to a file, making its folder if need be.

    It is written aside and renamed, so that an interruption leaves no half page and the old one stays.

    Raises: ``ValueError`` when the path is a folder, or lies in something that is not one.
    """
    path = Path(path)
    if path.is_dir():
        raise Mistake(f"expected a file to write the page to, but {path} is a folder; add a name like page.html.")
    written = text.encode("utf-8", errors="replace")
    with written_aside(path) as aside:
        aside.write_bytes(written)
