"""Why not, as a user asks it: a class or an image is named, and regions are removed with the brush."""

import re

import pytest

pytest_plugins = ["workbench_browser"]

VIEW = "#view=why-not&query=image:0:3"
TOUCH = """(element) => {
  const place = element.getBoundingClientRect();
  const send = (kind, x, y) => element.dispatchEvent(new PointerEvent(kind, {
    pointerId: 7, pointerType: "touch", isPrimary: true, bubbles: true, button: 0,
    clientX: place.left + x * place.width, clientY: place.top + y * place.height,
  }));
  element.setPointerCapture = () => {};
  send("pointerdown", 0.5, 0.5); send("pointermove", 0.6, 0.5); send("pointerup", 0.6, 0.5);
}"""


def removed(visit):
    return visit.asked("/removed")[-1].post_data_json


def painted(page, visit, kind):
    brush = page.locator(".brush")
    brush.scroll_into_view_if_needed()
    place = brush.bounding_box()
    if kind == "mouse":
        page.mouse.move(place["x"] + 0.5 * place["width"], place["y"] + 0.5 * place["height"])
        page.mouse.down()
        page.mouse.move(place["x"] + 0.6 * place["width"], place["y"] + 0.5 * place["height"], steps=2)
        assert not visit.asked("/removed")  # nothing is asked before the pointer is released
        page.mouse.up()
    elif kind == "touch":
        brush.evaluate(TOUCH)
    else:
        brush.focus()
        for key in ("Space", "ArrowRight", "ArrowRight", "ArrowRight", "Space"):
            brush.press(key)
        page.wait_for_timeout(600)
    visit.settle()


def test_a_class_is_named_and_what_holds_it_back_is_shown(visit, server):
    page = visit.open(VIEW)
    page.get_by_role("button", name="Name an image or a class").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Find", exact=True).fill("digit_9")
    dialog.get_by_role("list", name="Classes").get_by_role("button", name="digit_9").click()
    visit.settle()
    assert "expected=class:digit_9" in visit.hash()
    answer = server.answer("/api/banks/0/why-not?query=image:0:3&expected=class:digit_9&leave_self_out=1")
    text = page.locator("#view").inner_text()
    for sentence in answer["sentences"]:
        assert sentence in text
    assert f"rank {answer['expected']['rank']} " in text
    assert f"{answer['margin']:+.3f}" in text
    assert page.locator(".why .pv-stage").count() == 3  # the query, the first, and the expected
    changes = page.locator(".change-list li")
    assert changes.count() == len(answer["changes"])
    assert changes.filter(has_text="confirmed by a forward pass").count() >= sum(
        one["confirmed"] for one in answer["changes"]
    )


def test_an_image_is_named_from_the_gallery(visit):
    page = visit.open("#query=image:0:3")
    page.get_by_role("link", name=re.compile("^Why not image")).nth(6).click()
    visit.settle()
    identity = re.search(r"expected=id:(\d+)", visit.hash()).group(1)
    assert page.locator(f'.strip [data-id="{identity}"]').get_attribute("aria-pressed") == "true"
    assert "is at rank 7" in page.locator(".verdict").inner_text()


@pytest.mark.parametrize("kind", ["mouse", "touch", "keyboard"])
def test_a_removed_region_changes_the_ranking(visit, server, kind):
    page = visit.open(f"{VIEW}&expected=id:8")
    painted(page, visit, kind)
    sent = removed(visit)
    assert sent["grid"] == [28, 28]
    assert sent["watch"] == [8]
    rows = {row for row, _ in sent["cells"]}
    columns = {column for _, column in sent["cells"]}
    assert rows == {13, 14, 15}
    assert columns == set(range(13, 13 + len(columns)))
    assert len(columns) in (5, 6)
    answer = server.answer("/api/banks/0/removed", sent)
    shown = page.locator(".ranking tbody tr")
    assert [int(row.get_attribute("data-id")) for row in shown.all()] == [one["id"] for one in answer["neighbors"]]
    for row, one in zip(shown.all(), answer["neighbors"], strict=True):
        before, after = one["rank_before"], one["rank"]
        assert ("stays" if before == after else f"{before} → {after}") in row.inner_text()
    assert page.locator(".watched").inner_text().startswith("Image 8:")


def test_strokes_are_in_the_address_and_can_be_taken_back(visit):
    page = visit.open(VIEW)
    painted(page, visit, "mouse")
    cells, link = removed(visit)["cells"], visit.hash()
    again = visit.open(f"#{link}")
    again.reload()
    visit.settle()
    assert removed(visit)["cells"] == cells
    again.get_by_label("Brush mode").select_option("restore")
    again.locator(".brush").focus()
    again.locator(".brush").press("Space")
    again.wait_for_timeout(600)
    visit.settle()
    assert len(removed(visit)["cells"]) < len(cells)
    page.go_back()
    visit.settle()
    assert removed(visit)["cells"] != []
    again.get_by_role("button", name="Restore all").click()
    visit.settle()
    assert "Nothing is removed." in again.locator(".removal").inner_text()
