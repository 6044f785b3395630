"""The vote taken apart, and what is seen as files."""

import io
import json
import re

import numpy as np
import PIL.Image
import pytest

pytest_plugins = ["workbench_browser"]


def export(page, name):
    page.locator(".menu > summary").click()
    with page.expect_download() as found:
        page.locator(".menu").get_by_role("button", name=name).click()
    page.keyboard.press("Escape")
    return found.value.path().read_bytes()


def test_the_vote_is_split_and_each_voter_left_out(visit, server):
    page = visit.open("#view=votes&query=image:0:3")
    answer = server.answer("/api/banks/0/votes?query=image:0:3&leave_self_out=1")
    text = page.locator(".votes").inner_text()
    assert answer["sentence"] in text
    assert answer["split"]["words"] in text
    split = [row.locator("td").inner_text().replace("−", "-") for row in page.locator(".split tr").all()]
    told = [answer["split"][name] for name in ("how_similar", "how_many", "score")]
    np.testing.assert_allclose([float(value) for value in split], told, atol=0.01)
    rows = page.locator(".voters tbody tr")
    assert [int(row.get_attribute("data-id")) for row in rows.all()] == [one["id"] for one in answer["voters"]]
    neighbors = server.answer("/api/banks/0/search?query=image:0:3&leave_self_out=1")["neighbors"]
    for row, voter, neighbor in zip(rows.all(), answer["voters"], neighbors, strict=True):
        assert f"{neighbor['similarity']:.3f}" in row.inner_text()
        assert ("then" in row.inner_text()) == voter["flips"]


def test_another_rule_of_the_vote_is_chosen(visit):
    page = visit.open("#view=votes&query=image:0:3")
    page.locator(".filters").get_by_label("Vote").select_option("majority-vote")
    visit.settle()
    assert "rule=majority-vote" in visit.asked("/votes?")[-1].url


def test_what_is_seen_is_kept_as_a_picture(visit):
    page = visit.open("#view=why&query=image:0:3")
    resting = PIL.Image.open(io.BytesIO(export(page, "Picture")))
    assert resting.format == "PNG"
    assert resting.width > 700
    sides = [resting.crop((20 + 380 * place, 90, 380 + 380 * place, 400)) for place in (0, 1)]
    assert all(len(side.getcolors(200_000)) > 500 for side in sides)  # a photograph with its map
    page.get_by_label("Opacity").fill("0")
    bare = PIL.Image.open(io.BytesIO(export(page, "Picture")))
    assert np.asarray(bare).shape == np.asarray(resting).shape
    assert (np.asarray(bare) != np.asarray(resting)).any()


def test_a_search_is_kept_as_a_picture(visit):
    page = visit.open("#query=image:0:3&k=6")
    picture = PIL.Image.open(io.BytesIO(export(page, "Picture")))
    assert (picture.width, picture.height > 800) == (1540, True)


def test_page_json_and_arrays_are_those_of_the_server(visit, server):
    page = visit.open("#view=why&query=image:0:3")
    assert b"<html" in export(page, "Page")
    told = json.loads(export(page, "JSON"))
    neighbors = server.answer("/api/banks/0/search?query=image:0:3&leave_self_out=1")["neighbors"]
    assert told["score"] == pytest.approx(neighbors[0]["similarity"], abs=1e-6)
    with np.load(io.BytesIO(export(page, "NumPy"))) as arrays:
        assert "cells" in arrays.files
    assert re.search(rf"id={neighbors[0]['id']}\b", visit.asked("/export/arrays")[-1].url)


def test_the_python_call_is_copied(window, server):
    page = window(server, permissions=["clipboard-read", "clipboard-write"]).open("#view=why&query=image:0:3")
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="Copy the Python call").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(".why .python code").text_content()
    assert "retrieval_explain" in copied


def test_nothing_to_export_is_said(visit):
    page = visit.open()
    page.locator(".menu > summary").click()
    page.get_by_role("button", name="JSON").click()
    assert "Choose a query first." in page.locator(".menu").inner_text()
