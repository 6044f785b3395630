"""Every block of code of README and the site runs, or says why it does not."""

import re
import shlex
from collections import Counter
from importlib import import_module
from pathlib import Path

import jaxtyping
import matplotlib as mpl
import pytest
from page_blocks import PAGES, ROOT, blocks_of, names_of_pages, write_photographs

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
BESIDE_A_TOOL = "docs/how-to/with-"  # pages that tests/interop runs, each with the real tool
RUN_HERE = [
    block
    for block in BLOCKS
    if block.language in {"python", "console"} and block.reason is None and not block.page.startswith(BESIDE_A_TOOL)
]
PROGRAMS = {"fsl-explain": "fsl_explain", "retrieval-explain": "retrieval_explain"}
COMMANDS = [(block, line) for block in BLOCKS if block.language == "console" for line in block.commands]


def place(block):
    return f"{block.page}:{block.line}"


def is_code(block):
    return block.language not in {"text", "toml"}


def words_of(line):
    """Return the program and its words, without settings of the environment before it and where its answer goes."""
    words = shlex.split(line.split(" > ")[0])
    while words and "=" in words[0]:
        words.pop(0)
    return words


def app_of(program):
    return import_module(f"{PROGRAMS[program]}.cli.app")


@pytest.mark.parametrize("block", BLOCKS, ids=place)
def test_a_block_says_what_it_is(block):
    """Languages that are run, and text, which is not code."""
    assert block.language in {"python", "console", "text", "toml", "{code-cell}"}
    assert block.language in {"python", "console"} or block.reason is None
    if block.language == "console":
        assert block.commands


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.is_notebook], ids=place)
def test_a_cell_shows_what_it_draws(block):
    """A semicolon hides a figure that is not of pyplot."""
    assert not block.text.rstrip().endswith(";")


def test_most_blocks_are_run():
    """Cells of notebooks are run when the site is built; of the others some need what the project does not have."""
    counts = Counter("notebook" if b.is_notebook else "not run" if b.reason else "run" for b in BLOCKS if is_code(b))
    print(dict(counts))
    assert counts["notebook"] >= 50
    assert counts["run"] >= 30
    assert counts["not run"] <= 0.2 * counts.total()


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=lambda given: given if isinstance(given, str) else "")
def test_a_command_of_a_page_is_one(block, line):
    """Its options are there and its configs too, whether or not it is run."""
    words = words_of(line)
    if words[0] in PROGRAMS:
        app_of(words[0]).app.parse_args(words[1:], exit_on_error=False, print_error=False)
    for word in words:
        if word.startswith(("configs/", "benchmarks/")) and "SET" not in word:
            assert (ROOT / word).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_to_a_file_leads_to_one(page):
    """Also where pages are read in the checkout; the build of the site checks places in pages and generated ones."""
    links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    files = [link for link in links if ":" not in link]
    assert page.name != "README.md" or len(files) >= 30
    for link in files:
        assert "generated/" in link or (page.parent / link).exists(), link


def test_every_page_beside_a_tool_is_run_with_it():
    source = "".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests" / "interop").glob("test_*.py"))
    )
    pages = {
        block.page.removeprefix(BESIDE_A_TOOL).removesuffix(".md") for block in BLOCKS if BESIDE_A_TOOL in block.page
    }
    assert pages == set(re.findall(r'run_page\("([^"]+)"', source))


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder)
    return folder


def in_order(page):
    return [block for block in RUN_HERE if block.page == page]


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in RUN_HERE}))
def test_the_blocks_of_a_page_run(page, photographs, tmp_path, monkeypatch):
    """One after the other, as a reader would, beside photographs of the names that pages use."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checks of annotations are the tests' alone
    mpl.use("Agg")
    for entry in photographs.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    names = names_of_pages(Path.cwd()) if any(block.language == "python" for block in in_order(page)) else {}
    for block in in_order(page):
        if block.language == "python":
            exec(compile(block.text, place(block), "exec"), names)
            continue
        for line in block.commands:
            program, *words = words_of(line)
            assert app_of(program).run(words) == 0, f"{place(block)}: {line}"
