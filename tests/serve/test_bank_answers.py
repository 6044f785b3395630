"""What the workbench says of a bank is what the library says, to the last digit that is sent."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from served_colors import asked, numbers, write_colors

import retrieval_explain
from episodes import read_image
from fsl_explain import Encoder, correspondence, explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.cli.served import encoder_call
from fsl_explain.serve.offered import offered_methods
from retrieval_explain import MemoryBank
from retrieval_explain.serve.app import create_app

QUERY = "image:0:4"


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net")


@pytest.fixture(scope="module")
def bank(encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    return MemoryBank.build(encoder, write_colors(root / "images"), directory=root / "bank")


@pytest.fixture(scope="module")
def page(bank, encoder):
    return asked(create_app(bank, encoder, made_by=[encoder_call("conv4net", None, None, None, None)]))


@pytest.fixture(scope="module")
def query(bank, encoder):
    return encoder.preprocess([read_image(bank.paths[4])])[0]


def ask(page, path, status=200, **parameters):
    answer = page.get(f"/api/banks/0/{path}", params=parameters)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_the_session_says_what_there_is(page, bank):
    session = page.get("/api/session").json()
    assert session["kind"] == "banks"
    described = session["banks"][0]
    assert (described["images"], described["labeled"], described["channels"]) == (9, 9, bank.rows.shape[1])
    assert [one["name"] for one in described["classes"]] == ["blue", "green", "red"]
    assert {one["images"] for one in described["classes"]} == {3}


def test_neighbors_are_those_of_the_library(page, bank, encoder, query):
    found = ask(page, "search", query=QUERY, k=9)
    expected = bank.search(encoder(query[None]).embedding, 9)[0]
    assert [one["id"] for one in found["neighbors"]] == bank.ids[expected.indices].tolist()
    np.testing.assert_allclose([one["similarity"] for one in found["neighbors"]], expected.similarities.numpy(), 1e-6)
    assert [one["rank"] for one in found["neighbors"]] == list(range(1, 10))
    assert found["own"] == 4
    assert found["neighbors"][0]["own"]


def test_filters_leave_out(page):
    found = ask(page, "search", **{"query": QUERY, "k": 9, "class": ["red", "blue"]})["neighbors"]
    assert {one["label"] for one in found} == {"red", "blue"}
    assert len(found) == 6
    alone = ask(page, "search", query=QUERY, k=9, leave_self_out=True)["neighbors"]
    assert 4 not in [one["id"] for one in alone]
    assert len(alone) == 8


def test_an_upload_is_searched_as_its_file_is_and_known_as_the_bank_s_own(page, bank):
    for row in (1, 4):
        content = Path(bank.paths[row]).read_bytes()
        given = page.post("/api/uploads", content=content, headers={"X-Name": "a.png"}).json()
        found, expected = (ask(page, "search", query=name, k=5) for name in (given["query"], f"image:0:{row}"))
        assert found["neighbors"] == expected["neighbors"]
        assert found["own"] == row


def test_a_box_is_searched_as_the_library_searches_the_crop(page, bank, encoder):
    found = ask(page, "search", query=QUERY, k=3, box="10,20,50,60")
    crop = encoder.preprocess([read_image(bank.paths[4]).crop((10, 20, 50, 60))])[0]
    expected = bank.search(encoder(crop[None]).embedding, 3)[0]
    assert [one["id"] for one in found["neighbors"]] == bank.ids[expected.indices].tolist()
    np.testing.assert_allclose([one["similarity"] for one in found["neighbors"]], expected.similarities.numpy(), 1e-6)


def test_every_method_explains_what_the_library_explains(page, bank, encoder, query):
    names = [one["name"] for one in page.get("/api/session").json()["banks"][0]["methods"] if not one["slow"]]
    assert set(names) <= set(offered_methods(encoder, bank.compared_by))
    for name in names:
        found = ask(page, "why", query=QUERY, id=1, against=7, method=name)
        images = {key: encoder.preprocess([read_image(bank.paths[row])]) for key, row in (("a", 1), ("b", 7))}
        rival = {"against": "b"} if name == "contrast" else {}
        expected = explain(encoder, query, images, method=name, rule="nearest-neighbor", target="a", **rival)
        np.testing.assert_allclose(numbers(found["query"]["cells"]), expected.cells.numpy(), rtol=1e-4, atol=1e-6)
        assert found["score"] == pytest.approx(float(expected.exact_score), abs=1e-6)


def test_pairs_of_cells_are_the_correspondence_and_add_up(page, bank, encoder, query):
    found = ask(page, "why", query=QUERY, id=1)
    image = {"a": encoder.preprocess([read_image(bank.paths[1])])}
    expected = correspondence(explain(encoder, query, image, rule="nearest-neighbor"))
    pairs = found["supports"][0]["pairs"]
    table = numbers(pairs["table"])
    np.testing.assert_allclose(table, expected.table.numpy(), rtol=1e-4, atol=1e-7)
    assert table.sum() == pytest.approx(found["score"], abs=1e-5)
    np.testing.assert_allclose(
        table.sum(axis=1)[:-1].reshape(pairs["grid"]), numbers(found["query"]["cells"]), rtol=1e-3, atol=1e-6
    )


def test_finer_cells_add_up_to_the_same_score(page):
    coarse, finer = (ask(page, "why", query=QUERY, id=1, detail=detail) for detail in (0, 1))
    assert finer["score"] == pytest.approx(coarse["score"], abs=1e-6)
    cells = numbers(finer["query"]["cells"])
    assert cells.shape[0] == 2 * numbers(coarse["query"]["cells"]).shape[0]
    assert cells.sum() + finer["query"]["bias"] == pytest.approx(finer["score"], abs=1e-5)


def test_the_receipt_is_the_library_s(page):
    receipt = ask(page, "why", query=QUERY, id=1, against=7, method="contrast")["receipt"]
    total = sum(line["amount"] for line in receipt["lines"]) + sum(one["value"] for one in receipt["constants"])
    assert total == pytest.approx(receipt["score"], abs=1e-6)
    assert receipt["residual"] <= 1e-5 * receipt["absolute_sum"]
    assert "residual" in receipt["text"]


def test_channels_come_with_the_images_that_excite_them_most(page, bank):
    channels = ask(page, "why", query=QUERY, id=1)["channels"]
    rows = bank.rows.read(0, len(bank))
    for one in channels["top"]:
        column = rows[:, one["channel"]]
        assert [image["id"] for image in one["images"]] == bank.ids[column.topk(4).indices].tolist()


def test_why_not_is_the_library_s_answer(page, bank, encoder, query):
    retrieved = retrieval_explain.retrieve(encoder, query, bank, k=3)
    for name in ("id:8", "class:red"):
        found = ask(page, "why-not", query=QUERY, expected=name, k=3)
        expected = retrieval_explain.why_not_first(retrieved, name)
        assert found["expected"]["rank"] == expected.expected.rank
        assert found["margin"] == pytest.approx(expected.margin)
        assert [one["cells"] for one in found["changes"]] == [
            [list(cell) for cell in change.cells] for change in expected.changes
        ]
        assert [one["rank_at_pixels"] for one in found["changes"]] == [c.rank_at_pixels for c in expected.changes]


def test_removed_squares_are_searched_again_by_a_forward_pass(page, bank, encoder, query):
    cells = [[row, column] for row in range(14) for column in range(28)]
    answer = page.post("/api/banks/0/removed", json={"query": QUERY, "k": 9, "cells": cells, "watch": [8]}).json()
    edited = query.clone()
    edited[:, :42] = 0
    expected = bank.search(encoder(edited[None]).embedding, 9)[0]
    assert [one["id"] for one in answer["neighbors"]] == bank.ids[expected.indices].tolist()
    before = {one["id"]: one["rank"] for one in ask(page, "search", query=QUERY, k=9)["neighbors"]}
    assert {one["id"]: one["rank_before"] for one in answer["neighbors"]} == before
    assert answer["watched"][0]["rank_before"] == before[8]


def test_nothing_removed_changes_nothing(page):
    answer = page.post("/api/banks/0/removed", json={"query": QUERY, "k": 9, "cells": [], "watch": []}).json()
    assert all(one["rank"] == one["rank_before"] for one in answer["neighbors"])


@pytest.mark.parametrize("rule", ["knn-vote", "majority-vote"])
def test_the_vote_is_split_and_every_voter_can_be_left_out(page, bank, encoder, query, rule):
    found = ask(page, "votes", query=QUERY, k=7, rule=rule)
    expected = retrieval_explain.explain(encoder, query, bank, method="contrast", rule=rule, k=7)
    split = found["split"]
    assert split["score"] == pytest.approx(float(expected.exact_score))
    assert split["how_similar"] + split["how_many"] == pytest.approx(split["score"])
    assert found["winner"] == expected.decision.name
    assert sum(one["share"] for one in found["classes"]) == pytest.approx(1)
    assert sum(one["amount"] for one in found["voters"]) == pytest.approx(split["how_similar"])
    for voter in found["voters"]:  # a second writing: vote without it
        others = [one for one in found["voters"] if one is not voter]
        similar = torch.tensor([_similarity(bank, encoder, query, one["id"]) for one in others], dtype=torch.float64)
        votes = KnnVote().votes(similar - similar.max()) if rule == "knn-vote" else torch.ones(len(others))
        totals = dict.fromkeys(("blue", "green", "red"), 0.0)
        for one, vote in zip(others, votes.tolist(), strict=True):
            totals[one["label"]] += vote
        assert voter["label_without"] == max(totals, key=lambda name: totals[name])


def _similarity(bank, encoder, query, number):
    row = bank.rows.take(torch.tensor([number])).double()
    return float(torch.cosine_similarity(encoder(query[None]).embedding.double(), row))


def test_the_audit_says_how_far_it_is_and_then_what_it_found(page, bank):
    lines = [json.loads(line) for line in page.get("/api/banks/0/audit", params={"top": 5}).text.splitlines()]
    assert all("progress" in line for line in lines[:-1])
    from retrieval_explain.audit.audit_table import suspects
    from retrieval_explain.audit.label_audit import audit

    expected = suspects(bank, audit(bank), 5)
    assert [one["id"] for one in lines[-1]["result"]["suspects"]] == [int(bank.ids[one.row]) for one in expected]


def test_exports_hold_the_same_numbers(page):
    arrays = np.load(io.BytesIO(page.get("/api/banks/0/export/arrays", params={"query": QUERY, "id": 1}).content))
    found = ask(page, "why", query=QUERY, id=1)
    np.testing.assert_allclose(arrays["cells"], numbers(found["query"]["cells"]))
    plain = page.get("/api/banks/0/export/json", params={"query": QUERY, "id": 1}).json()
    np.testing.assert_allclose(plain["numbers"]["cells"], arrays["cells"])
    html = page.get("/api/banks/0/export/page", params={"query": QUERY, "k": 3})
    assert html.headers["content-disposition"] == 'attachment; filename="inspection.html"'
    assert "Why did these come back" in html.text


def test_the_call_that_is_shown_gives_the_same(page):
    text = ask(page, "why", query=QUERY, id=1, against=7, method="contrast", k=9)["call"]
    assert "bank.paths[4]" in text
    scope = {}
    exec(text, scope)
    found = ask(page, "why", query=QUERY, id=1, against=7, method="contrast")
    assert float(scope["explanation"].exact_score) == pytest.approx(found["score"], abs=1e-6)


def test_pictures_are_small_and_of_a_known_kind(page):
    for path in ("images/4/picture?width=64", "images/4/seen", "seen?query=image:0:4"):
        answer = page.get(f"/api/banks/0/{path}")
        assert answer.headers["content-type"] == "image/webp"
        assert answer.content[:4] == b"RIFF"


def test_two_banks_stand_side_by_side(bank, encoder):
    both = asked(create_app([bank, bank], [encoder, encoder], names=["one", "two"]))
    assert [one["name"] for one in both.get("/api/session").json()["banks"]] == ["one", "two"]
    found = [both.get(f"/api/banks/{number}/search", params={"query": QUERY, "k": 4}).json() for number in (0, 1)]
    assert [one["id"] for one in found[0]["neighbors"]] == [one["id"] for one in found[1]["neighbors"]]
    assert found[1]["own"] == 4
    other = both.get("/api/banks/1/search", params={"query": "image:0:7", "k": 4}).json()
    assert other["own"] == 7
