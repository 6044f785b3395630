"""Suspect labels are looked at and corrected; the bank that is written to is a copy."""

import re
import shutil

import pytest

pytest_plugins = ["workbench_browser"]


@pytest.fixture(scope="module")
def own_server(banks, serve_banks, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copied") / "bank"
    shutil.copytree(banks["demo-vit"], copy)
    return serve_banks({"demo-vit": copy})


@pytest.fixture
def own_visit(window, own_server):
    return window(own_server)


def audited(visit):
    page = visit.open("#view=audit")
    page.get_by_label("Show").fill("6")
    page.get_by_role("button", name="Look for mislabeled images").click()
    page.locator(".suspects").wait_for()
    visit.settle()
    return page


def label_of(server, identity):
    images = server.answer("/api/banks/0/images?limit=60")["images"]
    return next(one["label"] for one in images if one["id"] == identity)


def test_progress_is_told_while_labels_are_audited(own_visit):
    lines = [
        '{"progress": {"stage": "comparing", "done": 20, "total": 40}}',
        '{"result": {"k": 5, "images": 40, "suspects": [], "version": "v"}}',
    ]
    page = own_visit.page
    page.add_init_script(f"""{{
      const lines = {lines}, plain = window.fetch;
      window.fetch = (path, ...rest) => !String(path).includes("/audit?") ? plain(path, ...rest) : Promise.resolve(
        new Response(new ReadableStream({{ async start(out) {{
          out.enqueue(new TextEncoder().encode(lines[0] + "\\n" + lines[1].slice(0, 9)));
          await new Promise((done) => {{ window.goOn = done; }});
          out.enqueue(new TextEncoder().encode(lines[1].slice(9) + "\\n"));
          out.close();
        }} }})));
    }}""")
    page.goto(f"{own_visit.address}/#view=audit&audit=1")
    page.get_by_text("comparing: 20 of 40").wait_for()
    assert page.locator("progress").evaluate("(bar) => bar.value") == 0.5
    page.evaluate("window.goOn()")
    page.get_by_text("No image stands out").wait_for()
    assert page.locator(".meter").is_hidden()


def test_suspects_stand_beside_the_neighbors_that_say_so(own_visit):
    page = audited(own_visit)
    cards = page.locator(".suspect")
    assert cards.count() == 6
    assert "its neighbors say" in cards.first.inner_text()
    assert cards.first.locator(".thumbnails li").count() == 6
    assert "audit=1" in own_visit.hash()


def test_corrections_are_listed_taken_back_and_written_together(own_visit, own_server):
    page = audited(own_visit)
    cards = page.locator(".suspect")
    first, second, third = (int(cards.nth(place).get_attribute("data-id")) for place in range(3))
    suggested = cards.nth(0).locator("strong").nth(1).inner_text()
    cards.nth(0).locator(".accept").click()
    cards.nth(1).get_by_label(re.compile("^Class of image")).fill("digit_new")
    cards.nth(1).get_by_role("button", name="Set").click()
    cards.nth(2).locator(".accept").click()
    page.get_by_role("button", name=f"Take back the correction of image {third}").click()
    before = label_of(own_server, third)
    assert page.locator(".pending-list li").count() == 2
    page.get_by_role("button", name="Write 2 corrections").click()
    page.locator(".pending .good").wait_for()
    own_visit.settle()
    assert label_of(own_server, first) == suggested
    assert label_of(own_server, second) == "digit_new"
    assert label_of(own_server, third) == before
    assert page.locator(".pending-list li").count() == 0
    assert [option.get_attribute("value") for option in page.locator("#class-names option").all()].count(
        "digit_new"
    ) == 1


def test_a_bank_that_changed_meanwhile_is_reloaded(own_visit, own_server):
    own_visit.refusals_expected = True
    page = audited(own_visit)
    chosen = page.locator(".suspect").first
    identity = int(chosen.get_attribute("data-id"))
    chosen.locator(".accept").click()
    version = own_server.answer("/api/session")["banks"][0]["version"]
    other = page.locator(".suspect").nth(1)
    change = {"id": int(other.get_attribute("data-id")), "label": "digit_0"}
    own_server.answer("/api/banks/0/labels", {"version": version, "changes": [change]})
    page.get_by_role("button", name="Write 1 correction").click()
    page.locator(".pending .refusal").wait_for()
    assert "changed" in page.locator(".pending .refusal").inner_text()
    page.get_by_role("button", name="Reload the bank").click()
    page.get_by_text("The bank was read again.").wait_for()
    page.get_by_role("button", name="Write 1 correction").click()
    page.locator(".pending .good").wait_for()
    own_visit.settle()
    assert label_of(own_server, identity) is not None
