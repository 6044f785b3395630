"""Searching, as a user does it: a query is given in each way, filters narrow, and the address holds it all."""

import re

import PIL.Image
import pytest

pytest_plugins = ["workbench_browser"]

GIVE = """([bytes, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
  if (kind === "paste") document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
  const panel = document.querySelector(".query-panel");
  if (kind === "drop") panel.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""


def shown(page):
    """The neighbors on the page: identity, similarity, class."""
    cards = page.locator(".gallery .card")
    return [
        (int(card.get_attribute("data-id")), card.locator(".number").inner_text(), card.locator(".label").inner_text())
        for card in cards.all()
    ]


def expected(server, path):
    found = server.answer(path)["neighbors"]
    return [(one["id"], f"{one['similarity']:.3f}".replace("-", "−"), one["label"]) for one in found]


@pytest.fixture
def apart(scenes):
    return sorted((scenes / "apart").iterdir())[0]


def test_an_image_of_the_bank_is_picked_and_its_neighbors_are_those_of_the_server(visit, server):
    page = visit.open()
    page.locator(".gallery .pick").nth(5).click()
    visit.settle()
    chosen = server.answer("/api/banks/0/images?limit=48")["images"][5]["id"]
    assert f"query=image:0:{chosen}" in visit.hash()
    assert shown(page) == expected(server, f"/api/banks/0/search?query=image:0:{chosen}&k=10&leave_self_out=1")
    assert str(page.locator("#status").inner_text()).startswith("10 neighbors in")


def test_the_picker_finds_images_by_path_and_class(visit, server):
    page = visit.open()
    page.get_by_role("button", name="Pick from bank").click()
    page.get_by_label("Find", exact=True).fill("scene-012")
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 to 1 of 1 image").wait_for()
    dialog.locator(".pick").click()
    visit.settle()
    found = server.answer("/api/banks/0/images?find=scene-012")["images"]
    assert f"query=image:0:{found[0]['id']}" in visit.hash()


def test_a_chosen_file_is_searched(visit, server, apart):
    page = visit.open()
    page.locator(".query-panel input[type=file]").set_input_files(apart)
    page.wait_for_url(re.compile("upload:"))
    visit.settle()
    query = re.search(r"upload:\w+", visit.hash()).group()
    assert shown(page) == expected(server, f"/api/banks/0/search?query={query}&k=10&leave_self_out=1")


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_an_image_is_dropped_or_pasted(visit, apart, kind):
    page = visit.open()
    page.evaluate(GIVE, [list(apart.read_bytes()), kind])
    page.wait_for_url(re.compile("upload:"))
    visit.settle()
    assert page.locator(".gallery .card").count() == 10


def test_a_file_that_is_no_image_is_refused_in_a_sentence(visit, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    visit.refusals_expected = True
    page = visit.open()
    page.locator(".query-panel input[type=file]").set_input_files(broken)
    page.locator(".query-panel .refusal").wait_for()
    assert "image" in page.locator(".query-panel .refusal").inner_text()


def test_a_box_is_drawn_and_searched_by(visit, server):
    page = visit.open("#query=image:0:3")
    place = page.locator(".photograph").bounding_box()
    page.mouse.move(place["x"] + 0.25 * place["width"], place["y"] + 0.25 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.75 * place["width"], place["y"] + 0.9 * place["height"], steps=4)
    page.mouse.up()
    visit.settle()
    box = [int(edge) for edge in re.search(r"box=([\d,]+)", visit.hash()).group(1).split(",")]
    assert box == pytest.approx([21, 21, 63, 76], abs=1)
    path = f"/api/banks/0/search?query=image:0:3&box={','.join(map(str, box))}&k=10&leave_self_out=1"
    assert shown(page) == expected(server, path)
    page.get_by_role("button", name="Whole picture").click()
    visit.settle()
    assert "box" not in visit.hash()


def test_a_box_on_a_large_photograph_is_in_its_own_pixels(visit, apart, tmp_path):
    large = tmp_path / "large.png"
    PIL.Image.open(apart).resize((2400, 2400)).save(large)
    page = visit.open()
    page.locator(".query-panel input[type=file]").set_input_files(large)
    page.wait_for_url(re.compile("upload:"))
    visit.settle()
    place = page.locator(".photograph").bounding_box()
    page.mouse.move(place["x"] + 0.25 * place["width"], place["y"] + 0.25 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.5 * place["width"], place["y"] + 0.75 * place["height"], steps=4)
    page.mouse.up()
    visit.settle()
    box = [int(edge) for edge in re.search(r"box=([\d,]+)", visit.hash()).group(1).split(",")]
    assert box == pytest.approx([600, 600, 1200, 1800], abs=10)


def test_waiting_is_shown_at_once(visit):
    page, held = visit.page, []

    def hold(route):
        held.append(route)

    page.route("**/search?*", hold)
    page.goto(f"{visit.address}/#query=image:0:3")
    page.locator("#view .busy").wait_for()
    assert page.locator("#view [aria-busy=true]").count() == 1
    while not held:  # the request may be on its way still
        page.wait_for_timeout(10)
    held.pop().continue_()
    visit.settle()
    assert page.locator("#view .busy").count() == 0


def test_a_box_is_set_by_numbers_with_the_keyboard(visit):
    page = visit.open("#query=image:0:3")
    page.get_by_text("Box by numbers").press("Enter")
    for edge, value in (("left", "10"), ("top", "12"), ("right", "60"), ("bottom", "70")):
        page.get_by_label(f"Box, {edge}").fill(value)
    page.get_by_label("Box, bottom").press("Enter")
    visit.settle()
    assert "box=10,12,60,70" in visit.hash()


def test_classes_and_the_number_of_neighbors_narrow_the_search(visit, server):
    page = visit.open("#query=image:0:3")
    page.get_by_label("Neighbors, k").fill("4")
    page.get_by_label("Neighbors, k").press("Tab")
    visit.settle()
    page.get_by_text("Classes: all 5").click()
    page.locator(".class-filter").get_by_text("digit_6", exact=True).click()
    page.locator(".class-filter").get_by_text("digit_8", exact=True).click()
    visit.settle()
    path = "/api/banks/0/search?query=image:0:3&k=4&class=digit_6&class=digit_8&leave_self_out=1"
    assert shown(page) == expected(server, path)
    assert {label for _, _, label in shown(page)} <= {"digit_6", "digit_8"}
    page.get_by_label("Leave the query itself out").uncheck()
    page.get_by_role("button", name="All classes").click()
    visit.settle()
    assert shown(page)[0][0] == 3


def test_back_and_forward_and_a_link_show_the_same(visit):
    page = visit.open("#query=image:0:3")
    first = shown(page)
    page.get_by_role("button", name=re.compile("^Search by image")).nth(2).click()
    visit.settle()
    second, link = shown(page), visit.hash()
    assert second != first
    page.go_back()
    visit.settle()
    assert shown(page) == first
    page.go_forward()
    visit.settle()
    assert shown(page) == second
    page.goto("about:blank")
    assert shown(visit.open(f"#{link}")) == second


def test_a_full_queue_is_said_and_asked_again(visit):
    visit.refusals_expected = True
    full = {"status": 429, "headers": {"Retry-After": "3"}, "json": {"error": "12 requests wait already."}}
    visit.page.route("**/search?*", lambda route: route.fulfill(**full), times=1)
    page = visit.open("#query=image:0:3")
    said = page.locator("main .refusal").inner_text()
    assert "12 requests wait already." in said
    assert "3 seconds" in said
    page.get_by_role("button", name="Ask again").click()
    visit.settle()
    assert page.locator(".gallery .card").count() == 10


def test_a_bank_that_knows_words_is_searched_by_text(visit, server):
    described = server.answer("/api/session")
    described["banks"][0]["text"] = True
    visit.page.route("**/api/session", lambda route: route.fulfill(json=described))
    answer = server.answer("/api/banks/0/search?query=image:0:3&k=10")
    visit.page.route("**/search?query=text*", lambda route: route.fulfill(json={**answer, "words": "“a one”"}))
    page = visit.open()
    page.get_by_label("Search by text").fill("a one")
    page.get_by_label("Search by text").press("Enter")
    visit.settle()
    assert "query=text%3Aa+one" in visit.asked("/search?")[-1].url
    assert page.locator(".gallery .card").count() == 10
    page.get_by_role("link", name="Why", exact=True).first.click()
    assert "no regions" in page.locator("#view").inner_text()
