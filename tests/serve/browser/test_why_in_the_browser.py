"""Why, as a user sees it: cells that light their partners, maps that follow their controls, bars that add up."""

import base64
import re

import numpy as np
import pytest

pytest_plugins = ["workbench_browser"]

WHY = "#view=why&query=image:0:3"
LIT = """([column, side]) => {
  const { view } = document.querySelectorAll(".why")[column];
  const one = side < 0 ? view.query : view.sides[side];
  return { lit: [...one.lit], shown: one.stage.classList.contains("pv-lit"), at: view.at };
}"""
PIXELS = """(side) => {
  const canvas = document.querySelectorAll(".why .pv-map")[side];
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
}"""


def values(array):
    return np.frombuffer(base64.b64decode(array["data"]), "<f4").reshape(array["shape"])


def number(text):
    return float(text.replace("−", "-"))


@pytest.fixture(scope="module")
def why(server):
    """What the server says of the first neighbor."""
    first = server.answer("/api/banks/0/search?query=image:0:3&leave_self_out=1")["neighbors"][0]["id"]
    return server.answer(f"/api/banks/0/why?query=image:0:3&id={first}&method=exact")


@pytest.fixture(scope="module")
def table(why):
    return values(why["supports"][0]["pairs"]["table"])


def point(page, stage, cell, grid):
    place = page.locator(".pv-stage").nth(stage).bounding_box()
    row, column = divmod(cell, grid[1])
    page.mouse.move(
        place["x"] + (column + 0.5) * place["width"] / grid[1], place["y"] + (row + 0.5) * place["height"] / grid[0]
    )


@pytest.mark.parametrize("cell", [0, 27, 63])
def test_a_cell_of_the_query_lights_its_partners_with_the_amounts_of_the_table(visit, why, table, cell):
    page = visit.open(WHY)
    page.locator(".pv-stage").first.scroll_into_view_if_needed()
    before = len(visit.requests)
    point(page, 0, cell, why["supports"][0]["pairs"]["grid"])
    lit = page.evaluate(LIT, [0, 0])
    assert lit["at"] == {"side": -1, "cell": cell}
    assert lit["shown"]
    np.testing.assert_array_equal(np.float32(lit["lit"]), table[cell, :-1])
    total = number(re.search(r"column \d+: ([+−][\d.]+)", page.locator(".readout").inner_text()).group(1))
    assert total == pytest.approx(float(table[cell].sum()), abs=1e-4)
    page.mouse.move(5, 5)
    assert not page.evaluate(LIT, [0, 0])["shown"]
    assert len(visit.requests) == before


def test_a_cell_of_the_neighbor_lights_the_query(visit, why, table):
    page = visit.open(WHY)
    page.locator(".pv-stage").first.scroll_into_view_if_needed()
    point(page, 1, 20, why["supports"][0]["pairs"]["support_grid"])
    lit = page.evaluate(LIT, [0, -1])
    assert lit["at"] == {"side": 0, "cell": 20}
    np.testing.assert_array_equal(np.float32(lit["lit"]), table[:-1, 20])


def test_cells_are_reached_and_held_by_the_keyboard(visit, why, table):
    page = visit.open(WHY)
    stage = page.locator(".pv-stage").first
    stage.focus()
    height, width = why["supports"][0]["pairs"]["grid"]
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        stage.press(key)
    cell = (height // 2 + 1) * width + width // 2
    lit = page.evaluate(LIT, [0, 0])
    assert lit["at"]["cell"] == cell
    np.testing.assert_array_equal(np.float32(lit["lit"]), table[cell, :-1])
    assert f"row {height // 2 + 2}, column {width // 2 + 1}" in page.locator("#status").inner_text()
    stage.press("Enter")
    assert "cell=query:" in visit.hash()
    again = visit.open(f"#{visit.hash()}")
    again.reload()
    visit.settle()
    assert again.evaluate(LIT, [0, 0])["at"]["cell"] == cell
    again.locator(".pv-stage").first.press("Escape")
    assert "cell=" not in visit.hash()


def test_opacity_and_sign_change_the_map_and_the_address_and_ask_nothing(visit, why):
    page = visit.open(WHY)
    both, before = np.array(page.evaluate(PIXELS, 0)).reshape(-1, 4), len(visit.asked("?query"))
    cells = values(why["query"]["cells"]).ravel()
    opaque = both[:, 3] > 10  # a canvas keeps the colors of others roughly
    assert (both[opaque & (cells > 0)][:, 0] > 170).all()  # red speaks for
    assert (both[opaque & (cells < 0)][:, 2] > 160).all()  # blue against
    page.get_by_label("Sign").select_option("only against")
    against = np.array(page.evaluate(PIXELS, 0)).reshape(-1, 4)
    assert (against[cells > 0][:, 3] == 0).all()
    assert (against[cells < 0][:, 3] == both[cells < 0][:, 3]).all()
    page.get_by_label("Opacity").fill("30")
    fainter = np.array(page.evaluate(PIXELS, 0)).reshape(-1, 4)
    strongest = np.abs(cells).argmax()
    assert fainter[:, 3].max() <= 0.3 * 255 + 1
    assert both[strongest, 3] == pytest.approx(0.75 * 255, abs=1)
    assert "sign=against" in visit.hash()
    assert "opacity=30" in visit.hash()
    assert len(visit.asked("?query")) == before


def test_method_and_detail_are_asked_for(visit, server):
    page = visit.open("#view=why&bank=1&query=image:1:3")
    page.get_by_label("Detail").select_option("2 times finer")
    visit.settle()
    assert "detail=1" in visit.asked("/why?")[-1].url
    assert page.evaluate("document.querySelector('.pv-map').width") == 10
    page.get_by_label("Biases").select_option("apart")
    visit.settle()
    assert "biases=apart" in visit.asked("/why?")[-1].url
    page.get_by_label("Method").select_option("lafam")
    visit.settle()
    assert "method=lafam" in visit.asked("/why?")[-1].url
    assert "do not add up" in page.locator(".receipt").inner_text()


def test_the_bars_of_the_receipt_add_up_to_the_score(visit, why):
    page = visit.open(WHY)
    rows = page.locator(".addition tbody tr")
    adds = [number(row.locator("td").nth(0).inner_text()) for row in rows.all()]
    sums = [number(row.locator("td").nth(1).inner_text()) for row in rows.all()]
    np.testing.assert_allclose(np.cumsum(adds), sums, atol=1e-3)
    assert sums[-1] == pytest.approx(why["score"], abs=1e-3)
    frame = page.locator(".addition-frame")
    frame.focus()
    for _ in range(3):
        frame.press("ArrowDown")
    classes = [row.get_attribute("class").split() for row in rows.all()]
    assert [name[:1] for name in classes[:4]] == [["before"], ["before"], ["here"], []]


def test_a_bar_lights_its_cell_and_a_cell_its_bar(visit, why, table):
    page = visit.open(WHY)
    strongest = int(np.abs(table[:-1].sum(axis=1)).argmax())
    page.locator(".addition tbody tr").first.hover()
    assert page.evaluate(LIT, [0, 0])["at"]["cell"] == strongest
    page.locator(".pv-stage").first.scroll_into_view_if_needed()
    point(page, 0, strongest, why["supports"][0]["pairs"]["grid"])
    assert page.locator(".addition tr.holds").count() == 1
    assert page.locator(".addition tbody tr").first.get_attribute("class").endswith("holds")


def test_channels_stand_beside_the_images_that_excite_them(visit, server):
    page = visit.open("#view=why&bank=1&query=image:1:3")
    first = server.answer("/api/banks/1/search?query=image:1:3&leave_self_out=1")["neighbors"][0]["id"]
    top = server.answer(f"/api/banks/1/why?query=image:1:3&id={first}")["channels"]["top"]
    shown = page.locator(".channels > li")
    assert shown.count() == len(top)
    assert f"Channel {top[0]['channel']}" in shown.first.inner_text()
    sources = [image.get_attribute("src") for image in shown.first.locator("img").all()]
    assert [int(re.search(r"images/(\d+)/", source).group(1)) for source in sources] == [
        one["id"] for one in top[0]["images"]
    ]


def test_another_neighbor_and_a_rival_are_chosen(visit, server):
    page = visit.open(WHY)
    neighbors = server.answer("/api/banks/0/search?query=image:0:3&leave_self_out=1")["neighbors"]
    page.locator(".strip .pick").nth(3).click()
    visit.settle()
    assert f"id={neighbors[3]['id']}" in visit.hash()
    page.get_by_label("Rather than").select_option(str(neighbors[1]["id"]))
    visit.settle()
    assert f"against={neighbors[1]['id']}" in visit.asked("/why?")[-1].url
    assert "method=contrast" in visit.asked("/why?")[-1].url
    assert page.locator(".pv-stage").count() == 3


def test_two_banks_stand_side_by_side_and_light_the_same_place(visit, server):
    page = visit.open("#query=image:0:3")
    page.get_by_label("Compare with bank").select_option("1")
    visit.settle()
    columns = page.locator(".columns.two > .column")
    for bank, column in enumerate(columns.all()):
        found = server.answer(f"/api/banks/{bank}/search?query=image:0:3&leave_self_out=1")["neighbors"]
        shown = [int(card.get_attribute("data-id")) for card in column.locator(".card").all()]
        assert shown == [one["id"] for one in found]
    columns.nth(1).get_by_role("link", name=re.compile("^Why image")).nth(2).click()
    visit.settle()
    assert f"other={shown[2]}" in visit.hash()
    assert page.locator(".why").count() == 2
    page.locator(".pv-stage").first.scroll_into_view_if_needed()
    point(page, 0, 0, (8, 8))
    assert [page.evaluate(LIT, [column, 0])["at"]["cell"] for column in (0, 1)] == [0, 0]
