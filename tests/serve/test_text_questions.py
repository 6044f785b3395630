"""A text as the query of the workbench, and texts as the supports of an episode."""

import numpy as np
import pytest
from served_colors import asked, numbers
from tiny_clip import tiny_clip, write_pictures

from episodes import read_image
from fsl_explain import explain
from fsl_explain.serve import episodes_app
from retrieval_explain import MemoryBank, explain_text, retrieve_text
from retrieval_explain.serve.app import create_app

TEXT = "a red bird"


@pytest.fixture(scope="module")
def encoder():
    return tiny_clip("open_clip")[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def bank(encoder, folder):
    return MemoryBank.build(encoder, folder)


@pytest.fixture(scope="module")
def page(bank, encoder):
    return asked(create_app(bank, encoder))


def ask(page, path, status=200, **parameters):
    answer = page.get(f"/api/banks/0/{path}", params={"query": f"text:{TEXT}", **parameters})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_text_is_searched_and_each_image_explained_as_by_the_library(page, bank, encoder):
    assert page.get("/api/session").json()["banks"][0]["text"]
    found = ask(page, "search", k=4)
    expected = retrieve_text(encoder, TEXT, bank, k=4).neighbors
    assert [one["id"] for one in found["neighbors"]] == bank.ids[expected.indices].tolist()
    assert found["vote"] is None
    assert found["seen"] is None
    number = found["neighbors"][1]["id"]
    why = ask(page, "why", id=number)
    explained = explain_text(encoder, TEXT, bank, target=f"id:{number}")
    np.testing.assert_allclose(numbers(why["supports"][0]["cells"]), explained.cells, rtol=1e-4, atol=1e-7)
    assert why["query"]["cells"] is None
    assert why["score"] == pytest.approx(float(explained.exact_score), abs=1e-6)


@pytest.mark.parametrize(
    ("path", "parameters", "words"),
    [
        ("why", {"id": 1, "method": "contrast"}, "a contrast compares two images"),
        ("votes", {}, "expected an image as the query"),
        ("why-not", {"expected": "id:1"}, "expected an image as the query"),
        ("search", {"query": "text:"}, "expected a text"),
        ("search", {"query": "text:" + "x" * 2000}, "expected a text"),
    ],
)
def test_what_needs_an_image_says_so(page, path, parameters, words):
    assert words in ask(page, path, 400, **parameters)["error"].lower()


def test_texts_are_supports_of_an_episode(encoder, folder):
    page = asked(episodes_app.create_app(folder, encoder))
    assert page.get("/api/session").json()["episode"]["text"]
    texts = [{"image": "text:a red bird", "label": "bird"}, {"image": "text:a photo of a cat", "label": "cat"}]
    given = {"query": "support:1", "supports": texts, "method": "contrast"}
    found = page.post("/api/episode", json=given).json()
    query = encoder.preprocess([read_image(folder / "first" / "1.png")])[0]
    prompts = {"bird": "a red bird", "cat": "a photo of a cat"}
    expected = explain(encoder, query, text=prompts, method="contrast")
    assert found["decision"]["name"] == expected.decision.name
    np.testing.assert_allclose(numbers(found["why"]["query"]["cells"]), expected.cells, rtol=1e-3, atol=1e-6)
    both = {**given, "supports": [*texts, {"image": "support:0", "label": "cat"}]}
    assert "got both" in page.post("/api/episode", json=both).json()["error"]
    assert "<h1" in page.post("/api/episode/page", json=given).text
