"""How the page looks and reads: no violation that axe finds, no sideways scrolling, colors as chosen."""

import re

import pytest

pytest_plugins = ["workbench_browser"]

AXE = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
VIEWS = {
    "beginning": "",
    "search": "#query=image:0:3",
    "two banks": "#query=image:0:3&compare=1",
    "why": "#view=why&query=image:0:3",
    "why two": "#view=why&query=image:0:3&compare=1&cell=query:0.4,0.4",
    "why not": "#view=why-not&query=image:0:3&expected=class:digit_9&removed=AAAAAAAAAAAAAAAAAAAAAAAAAADwAA",
    "votes": "#view=votes&query=image:0:3",
    "audit": "#view=audit&audit=1&top=4",
}


def serious(page):
    """What axe finds to be serious or worse: rule, element, and what is wrong."""
    return [
        (one["id"], node["html"][:160], node["failureSummary"])
        for one in AXE.Axe().run(page).response["violations"]
        for node in one["nodes"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_read_by_everyone_in_light_and_dark_and_on_a_phone(window, server, name):
    page = window(server, bypass_csp=True, reduced_motion="reduce").open(VIEWS[name])
    assert page.locator("h1").count() == 1
    for landmark in ("banner", "navigation", "complementary", "main"):
        assert page.get_by_role(landmark).count() == 1
    named = page.locator("body").aria_snapshot()
    assert not re.search(r"- (button|link|textbox|combobox|checkbox|slider|spinbutton|img)\s*$", named, re.MULTILINE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert serious(page) == []


def test_colors_are_chosen_and_remembered(visit):
    page = visit.open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colors").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    visit.settle()
    assert page.evaluate(ground) == dark
    page.get_by_label("Colors").select_option("as the system")
    assert page.evaluate(ground) == light


def test_names_break_only_between_their_parts(visit, server):
    described = server.answer("/api/banks/0/search?query=image:0:3&k=10")
    for one in described["neighbors"]:
        one["label"] = "001.Black_footed_Albatross"
    visit.page.route("**/search?*", lambda route: route.fulfill(json=described))
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open("#query=image:0:3")
    lines = page.evaluate("""() => [...document.querySelectorAll(".card .label")].flatMap((label) => {
      const text = [...label.childNodes].filter((node) => node.nodeType === 3);
      return text.map((node) => {
        const range = new Range();
        range.selectNode(node);
        return range.getClientRects().length;
      });
    })""")
    assert set(lines) == {1}  # every part of a name stands on one line


def test_names_from_the_server_are_text(visit, server):
    described = server.answer("/api/banks/0/search?query=image:0:3&k=10")
    described["neighbors"][0]["label"] = "<img src=x onerror=alert(1)>"
    visit.page.route("**/search?*", lambda route: route.fulfill(json=described))
    page = visit.open("#query=image:0:3")
    assert page.locator(".card .label").first.inner_text() == "<img src=x onerror=alert(1)>"


def test_everything_is_reached_by_the_keyboard(visit):
    page = visit.open("#query=image:0:3&k=3")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent")
        )
    for words in ("Skip to the results", "Search", "Why", "Export", "Choose a file", "Pick from bank"):
        assert any(words in str(one) for one in reached), words
    assert sum(str(one).startswith("Why image") for one in reached) == 3


def test_motion_is_reduced_where_it_is_asked_for(window, server):
    page = window(server, reduced_motion="reduce").open()
    slow = page.evaluate("""() => {
      const sign = document.body.appendChild(Object.assign(document.createElement("span"), { className: "spinner" }));
      return getComputedStyle(sign).animationDuration;
    }""")
    assert slow == "3s"
