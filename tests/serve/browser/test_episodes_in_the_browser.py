"""An episode whose supports are added, removed and relabeled by hand, and the decision that follows at once."""

import base64
import io
import re
import shutil

import numpy as np
import PIL.Image
import pytest

pytest_plugins = ["workbench_browser"]

QUERY = "#query=support:0"
DRAG = """([image, name]) => {
  const data = new DataTransfer();
  const card = document.querySelector(`[data-image="${image}"]`);
  const column = document.querySelector(`[data-class="${name}"]`);
  card.dispatchEvent(new DragEvent("dragstart", { dataTransfer: data, bubbles: true }));
  column.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}"""
GIVE = """([bytes, name, kind]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
  const column = document.querySelector(`[data-class="${name}"]`);
  if (kind === "dropped") column.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
  column.querySelector("select").focus();
  if (kind === "pasted") document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
}"""


@pytest.fixture(scope="module")
def episodes(scenes, serve, tmp_path_factory):
    folder = tmp_path_factory.mktemp("episode") / "supports"
    for one in sorted((scenes / "bank").iterdir()):
        (folder / one.name).mkdir(parents=True)
        for image in sorted(one.iterdir())[:2]:
            shutil.copy(image, folder / one.name)
    return serve("fsl_explain", "serve", "--support", folder, "--encoder", "demo-vit", "--port", "0")


@pytest.fixture
def episode(window, episodes):
    return window(episodes)


def posted(visit):
    """The supports of the last decision that was asked for, by label."""
    supports = visit.asked("/api/episode")[-1].post_data_json["supports"]
    labels = sorted({one["label"] for one in supports})
    return {label: [one["image"] for one in supports if one["label"] == label] for label in labels}


def test_a_given_query_is_decided(episode, episodes, scenes):
    page = episode.open()
    assert "Choose a query" in page.locator("#view").inner_text()
    page.locator(".query-panel input[type=file]").set_input_files(sorted((scenes / "apart").iterdir())[1])
    page.wait_for_url(re.compile("upload:"))
    episode.settle()
    answer = episodes.answer("/api/episode", episode.asked("/api/episode")[-1].post_data_json)
    assert page.locator(".decision h2").inner_text() == answer["decision"]["name"]
    assert answer["sentence"] in page.locator(".decision").inner_text()
    shown = [row.locator(".name").inner_text() for row in page.locator(".decision tbody tr").all()]
    assert shown == [one["name"] for one in answer["decision"]["scores"]]


def test_a_support_is_removed_and_the_decision_follows(episode, episodes):
    page = episode.open(QUERY)
    assert page.locator(".decision h2").inner_text() == "digit_0"
    for file in page.locator('[data-class="digit_0"] .path').all_inner_texts():
        page.get_by_role("button", name=f"Remove {file}").click()
        episode.settle()
    assert "digit_0" not in posted(episode)
    answer = episodes.answer("/api/episode", episode.asked("/api/episode")[-1].post_data_json)
    assert page.locator(".decision h2").inner_text() == answer["decision"]["name"] != "digit_0"
    page.go_back()
    episode.settle()
    assert page.locator('[data-class="digit_0"] .support-card').count() == 1
    page.get_by_role("button", name="Supports of the folder").click()
    episode.settle()
    assert page.locator(".decision h2").inner_text() == "digit_0"


def test_a_support_is_relabeled_by_the_keyboard(episode):
    page = episode.open(QUERY)
    select = page.locator('select[data-support="support:1"]')
    select.focus()
    select.select_option("digit_9")
    episode.settle()
    assert "support:1" in posted(episode)["digit_9"]
    assert page.evaluate("document.activeElement.dataset.support") == "support:1"
    assert "support%3A1%3Ddigit_9" in episode.page.url or "support:1%3Ddigit_9" in episode.page.url


def test_a_support_is_dragged_to_another_class(episode):
    page = episode.open(QUERY)
    page.evaluate(DRAG, ["support:1", "digit_6"])
    episode.settle()
    assert "support:1" in posted(episode)["digit_6"]
    assert page.locator('[data-class="digit_6"] [data-image="support:1"]').count() == 1


@pytest.mark.parametrize("kind", ["chosen", "dropped", "pasted"])
def test_supports_are_added_to_a_class(episode, scenes, kind):
    file = sorted((scenes / "apart").iterdir())[2]
    page = episode.open(QUERY)
    if kind == "chosen":
        page.locator('[data-class="digit_6"] input[type=file]').set_input_files(file)
    else:
        page.evaluate(GIVE, [list(file.read_bytes()), "digit_6", kind])
    page.locator('[data-class="digit_6"] [data-image^="upload:"]').wait_for()
    episode.settle()
    assert posted(episode)["digit_6"][-1].startswith("upload:")


def test_a_class_is_added_and_a_link_has_it(episode):
    page = episode.open(QUERY)
    page.get_by_label("New class").fill("another")
    page.get_by_role("button", name="Add class").click()
    page.locator('select[data-support="support:2"]').select_option("another")
    episode.settle()
    link = episode.hash()
    page.goto("about:blank")
    episode.open(f"#{link}")
    assert posted(episode)["another"] == ["support:2"]


def test_why_lights_the_supports_and_the_receipt_adds_up(episode, episodes):
    page = episode.open(f"{QUERY}&view=why")
    answer = episodes.answer("/api/episode", episode.asked("/api/episode")[-1].post_data_json)["why"]
    stages = page.locator(".pv-stage")
    having = [one for one in answer["supports"] if one["amount"]]
    assert stages.count() == 1 + len(having)
    stages.first.focus()
    stages.first.press("ArrowRight")
    lit = page.evaluate("""() => {
      const { view, parts } = document.querySelector(".why");
      return view.sides.map((side, place) => [parts.supports[place].image, view.at.cell, [...side.lit]]);
    }""")
    pairs = {one["image"]: one["pairs"]["table"] for one in having if one["pairs"]}
    assert len(pairs) > 1
    for image, cell, amounts in lit:
        table = np.frombuffer(base64.b64decode(pairs[image]["data"]), "<f4").reshape(pairs[image]["shape"])
        np.testing.assert_array_equal(np.float32(amounts), table[cell, :-1])
    sums = page.locator(".addition").first.locator("tbody .sum").all_inner_texts()
    assert float(sums[-1].replace("−", "-")) == pytest.approx(answer["score"], abs=1e-3)
    assert page.locator(".addition").first.locator("tr.holds").count() == len(having)


def test_another_class_is_explained(episode):
    page = episode.open(f"{QUERY}&view=why")
    page.get_by_label("Why", exact=False).first.select_option("digit_8")
    episode.settle()
    assert episode.asked("/api/episode")[-1].post_data_json["target"] == "digit_8"
    page.get_by_label("Rather than").select_option("digit_1")
    episode.settle()
    assert episode.asked("/api/episode")[-1].post_data_json["against"] == "digit_1"


def test_supports_are_audited(episode, episodes):
    page = episode.open(f"{QUERY}&view=supports")
    audit = episodes.answer("/api/episode", episode.asked("/api/episode")[-1].post_data_json)["audit"]
    rows = page.locator(".voters tbody tr")
    assert [row.get_attribute("data-image") for row in rows.all()] == [one["image"] for one in audit]
    for row, one in zip(rows.all(), audit, strict=True):
        assert ("then" in row.inner_text()) == one["flips"]


def test_an_episode_is_kept_as_files(episode):
    page = episode.open(f"{QUERY}&view=why")
    for name, begins in (("Page", b"<!DOCTYPE"), ("JSON", b"{"), ("NumPy", b"PK"), ("Picture", b"\x89PNG")):
        page.locator(".menu > summary").click()
        with page.expect_download() as found:
            page.locator(".menu").get_by_role("button", name=name).click()
        content = found.value.path().read_bytes()
        assert content.startswith(begins)
        page.keyboard.press("Escape")
    assert PIL.Image.open(io.BytesIO(content)).height > 300


@pytest.mark.parametrize("view", ["decide", "why", "supports"])
def test_an_episode_can_be_read_by_everyone_in_light_and_dark_and_on_a_phone(window, episodes, view):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = window(episodes, bypass_csp=True).open(f"{QUERY}&view={view}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page).response["violations"]
        assert not [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
