"""What the site is made of: every public name and every mark of the papers' errata is there, and faults are found."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = '<html><body><article><a href="questions.html">ten</a>{}</article></body></html>'
ANSWERS = "".join(f'<a href="answer{number}.html">{number}</a>' for number in range(10))


@pytest.fixture
def of_site(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    return import_module


@pytest.fixture
def modules():
    names: dict = {}
    exec((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"), {"__file__": str(ROOT / "docs" / "conf.py")}, names)
    return [import_module(name) for name in names["api_modules"]]


def test_every_package_with_a_stub_has_its_page(modules):
    """But for those of the command lines, which have pages of commands."""
    stubs = [path.parent.relative_to(ROOT) for top in ("episodes", "fsl_explain", "retrieval_explain")
             for path in (ROOT / top).rglob("__init__.pyi")]  # fmt: skip
    packages = {".".join(path.parts) for path in stubs} - {"fsl_explain.cli", "retrieval_explain.cli"}
    assert packages <= {module.__name__ for module in modules}


def test_every_public_name_is_documented_once(of_site, modules):
    pages = of_site("api_pages")
    homes = pages.public_homes(modules)
    documented = [name for module in modules for name, _ in pages.public_objects(module, homes)]
    assert len(documented) == len(set(documented)) >= 200
    for module in modules:
        page = pages.module_page(module, homes)
        for name in pages.names_of(module):
            found = getattr(module, name)
            public = homes.get(pages.canonical_name(found) or "", f"{module.__name__}.{name}")
            assert f"`{name} <{public}>`" in page
            assert public in documented or public in {one.__name__ for one in modules}, public


def test_every_mark_of_the_source_is_listed(of_site):
    left = of_site("papers_left")
    found = list(left.places(ROOT))
    marks = sum(
        path.read_text(encoding="utf-8").count(left.MARK)
        for top in ("episodes", "fsl_explain", "retrieval_explain")
        for path in (ROOT / top).rglob("*.py")
    )
    assert len(found) == marks > 0
    assert all(one.words for one in found)


def written(folder, start="", **pages):
    (folder / "index.html").write_text(START.format(start), encoding="utf-8")
    (folder / "questions.html").write_text(f"<article>{ANSWERS}</article>", encoding="utf-8")
    for number in range(10):
        (folder / f"answer{number}.html").write_text('<p id="here">yes</p>', encoding="utf-8")
    for name, text in pages.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("start", "pages", "fault"),
    [
        ("", {}, None),
        ('<a href="https://example.com">elsewhere</a>', {}, None),
        ('<a href="answer1.html#here">there</a>', {}, None),
        ('<script src="https://example.com/a.js"></script>', {}, "loads https://example.com/a.js"),
        ('<img src="//example.com/a.png">', {}, "loads //example.com/a.png"),
        ('<link rel="stylesheet" href="http://example.com/a.css">', {}, "loads http://example.com/a.css"),
        ("<style>@import 'https://example.com/a.css'</style>", {}, "loads https://example.com/a.css"),
        ("", {"site_css": "a { src: url(https://example.com/a.woff2) }"}, "site.css: loads"),
        ('<a href="nowhere.html">dead</a>', {}, "links to nowhere.html, which is not there"),
        ('<a href="answer1.html#gone">dead</a>', {}, "has no such place"),
        ("", {"questions_html": '<article><a href="answer1.html">one</a></article>'}, "expected ten answers"),
        ("", {"index_html": "<article>nothing</article>"}, "more than 2 clicks from the start"),
    ],
)
def test_a_fault_of_a_site_is_found(of_site, tmp_path, start, pages, fault):
    found = list(of_site("check_site").faults(written(tmp_path, start, **pages)))
    assert found == [] if fault is None else any(fault in one for one in found), found


def test_a_folder_without_a_site_is_a_fault(of_site, tmp_path):
    (fault,) = of_site("check_site").faults(tmp_path)
    assert "run make docs" in fault


def test_the_names_of_the_site_hide_no_others():
    """Its modules are imported by their short names."""
    names = {path.stem for path in (ROOT / "docs" / "site").glob("*.py")}
    assert not names & set(sys.stdlib_module_names)
