"""Pages that are files, and the notebook's widget, in a real browser: pointed at without any server."""

import json

import pytest
import torch

from fsl_explain import Encoder, correspondence, explain, widget
from fsl_explain.report import Case, Page, write_page
from fsl_explain.report.standing_pair import strongest

pytest_plugins = ["workbench_browser"]

AXE = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
MODEL = """
async ([module, style, said]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const { default: view } = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const el = document.createElement("div");
  document.body.append(el);
  view.render({ model: { get: () => said, on() {} }, el });
}
"""


@pytest.fixture(scope="module")
def explanation():
    encoder = Encoder.named("conv4net")
    images = torch.rand(5, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    supports = {"black_footed_albatross": images[1:3], "laysan_albatross": images[3:5]}
    return explain(encoder, images[0], supports, method="contrast")


@pytest.fixture(scope="module")
def written(explanation, tmp_path_factory):
    path = tmp_path_factory.mktemp("standing") / "page.html"
    case = Case("The decision", {"contrast": explanation}, query_name="a_long_name_of_a_photograph.png")
    write_page(Page(title="Why is a_long_name_of_a_photograph.png taken for it?", cases=(case,)), path)
    return path


@pytest.fixture
def opened(chromium):
    """Open pages in windows of some size and colors; none may complain or ask for anything but itself."""
    contexts, complaints, asked = [], [], []

    def start(address, width=1280, scheme="light", **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked)


def pointed_at(page, row, column, explanation):
    """Point at a cell of the query and return the amount that the line below says."""
    stage = page.locator(".pv-stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    height, width = correspondence(explanation).shape
    page.mouse.move(box["x"] + box["width"] * (column + 0.5) / width, box["y"] + box["height"] * (row + 0.5) / height)
    words = page.locator(".pv-said").first.inner_text()
    assert words.startswith(f"Row {row + 1}, column {column + 1} of the query: ")
    return float(words.split(": ")[1].split(" ")[0].replace("−", "-"))


def share_of(explanation, row, column):
    """What a cell of the query holds through the shown supports, by the library."""
    found = [correspondence(explanation, label=label, shot=shot) for label, shot in strongest(explanation)]
    return sum(float(one.cells[0][row, column]) for one in found)


@pytest.mark.parametrize("cell", [(0, 0), (2, 3), (4, 1)])
def test_a_page_says_what_the_library_says(opened, written, explanation, cell):
    page = opened(written.as_uri())
    assert pointed_at(page, *cell, explanation) == pytest.approx(share_of(explanation, *cell), rel=6e-3)


def test_cells_are_reached_by_keys(opened, written):
    page = opened(written.as_uri())
    page.locator(".pv-stage").first.focus()
    page.keyboard.press("ArrowRight")
    first = page.locator(".pv-said").inner_text()
    page.keyboard.press("ArrowDown")
    assert first.startswith("Row ")
    assert page.locator(".pv-said").inner_text() != first


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_page(opened, written, scheme):
    page = opened(written.as_uri(), scheme=scheme, bypass_csp=True)
    found = AXE.Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_a_page_fits_a_phone(opened, written):
    page = opened(written.as_uri(), width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_without_scripts_is_whole(opened, written):
    page = opened(written.as_uri(), java_script_enabled=False)
    assert page.get_by_role("heading", level=1).is_visible()
    assert page.locator("img").count() > 5


def test_the_widget_draws_and_says_the_same(opened, explanation):
    page = opened("about:blank")
    shown = widget(explanation)
    page.evaluate(MODEL, [shown._esm, shown._css, json.loads(json.dumps(shown.said))])
    assert pointed_at(page, 2, 3, explanation) == pytest.approx(share_of(explanation, 2, 3), rel=6e-3)
