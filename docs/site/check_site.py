"""Checks a built site: it loads nothing from elsewhere, its links lead somewhere, and the ten questions are near.

    python docs/site/check_site.py build/site

Every line it prints is a fault. It reads the files alone and makes no request.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "use": "href",
    "image": "href",
}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest"}
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//|^(?:https?|ftp):", re.IGNORECASE)
IN_STYLES = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
CLICKS = 2


class Seen(HTMLParser):
    """What one page loads, links to, and can be linked at; links of the article stand apart from those of the frame."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.article_links: list[str] = []
        self.anchors: set[str] = set()
        self._articles = 0
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag loads and links to."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self._articles += tag == "article"
        self._style = tag == "style"
        if tag in LOADED and LOADED[tag] in given:
            self.loads.append(given[LOADED[tag]])
        if tag == "link" and FETCHED_LINKS & {*given.get("rel", "").split()}:
            self.loads.append(given.get("href", ""))
        self.loads += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        self.loads += in_styles(given.get("style", ""))
        if tag == "a" and "href" in given:
            (self.article_links if self._articles else self.links).append(given["href"])

    def handle_endtag(self, tag: str) -> None:
        """Note where the article ends."""
        self._articles -= tag == "article"
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Read a page's own styles."""
        if self._style:
            self.loads += in_styles(data)


def in_styles(text: str) -> list[str]:
    """Return what a style sheet loads."""
    return [one or other for one, other in IN_STYLES.findall(text)]


def faults(root: Path) -> Iterator[str]:
    """Yield a sentence for every fault of a site."""
    pages = {path: Seen(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    if root / "index.html" not in pages:
        yield f"{root}: expected a built site with index.html, but there is none; run make docs."
        return
    for path, page in pages.items():
        name = path.relative_to(root)
        yield from (f"{name}: loads {one}, from elsewhere" for one in page.loads if OUTSIDE.match(one))
        for link in (*page.loads, *page.links, *page.article_links):
            yield from (f"{name}: {fault}" for fault in dead(link, path, root, pages))
    for path in sorted(root.rglob("*.css")):
        loads = in_styles(path.read_text(encoding="utf-8", errors="replace"))
        yield from (f"{path.relative_to(root)}: loads {one}, from elsewhere" for one in loads if OUTSIDE.match(one))
    yield from far_questions(root, pages)


def dead(link: str, path: Path, root: Path, pages: dict[Path, Seen]) -> Iterator[str]:
    """Yield a sentence if a link to this site leads nowhere."""
    parts = urlsplit(link)
    if OUTSIDE.match(link) or parts.scheme:
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists() or not target.is_relative_to(root):
        yield f"links to {link}, which is not there"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        yield f"links to {link}, but {target.relative_to(root)} has no such place"


def far_questions(root: Path, pages: dict[Path, Seen]) -> Iterator[str]:
    """Yield a sentence for each answer of the ten questions that is more than two clicks in articles from the start."""
    reached = near = {root / "index.html"}
    for _ in range(CLICKS):
        near = {target for page in near for target in targets(page, pages[page].article_links, pages)} - reached
        reached = reached | near
    questions = root / "questions.html"
    if questions not in pages:
        yield "questions.html is not there"
        return
    answers = targets(questions, pages[questions].article_links, pages) - {questions}
    if len(answers) < 10:
        yield f"questions.html: expected ten answers, but it links to {len(answers)} pages"
    far = sorted(answer.relative_to(root) for answer in answers - reached)
    yield from (f"{answer}: answers a question, but is more than {CLICKS} clicks from the start" for answer in far)


def targets(page: Path, links: list[str], pages: dict[Path, Seen]) -> set[Path]:
    """Return the pages of the site that links lead to."""
    found = {(page.parent / unquote(urlsplit(link).path)).resolve() for link in links if not urlsplit(link).scheme}
    return found & set(pages)


def main() -> int:
    """Print the faults, and what was checked."""
    root = Path(sys.argv[1]).resolve()
    found = [*faults(root)]
    print("\n".join(found))
    pages = [*root.rglob("*.html")]
    print(f"{len(pages)} pages, {len(found)} faults: requests to elsewhere, dead links, answers that are too far away.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
