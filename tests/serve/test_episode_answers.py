"""What the workbench says of an episode is what the library says, whichever way its supports were moved."""

import io

import numpy as np
import pytest
import torch
from served_colors import asked, numbers, write_colors

from episodes import read_image
from fsl_explain import Encoder, explain, support_audit
from fsl_explain.serve.episodes_app import create_app

QUERY = "support:0"


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_colors(tmp_path_factory.mktemp("episodes") / "supports")


@pytest.fixture(scope="module")
def page(folder, encoder):
    return asked(create_app(folder, encoder, made_by="fsl_explain.Encoder.named('conv4net')"))


@pytest.fixture(scope="module")
def supports(page):
    classes = page.get("/api/session").json()["episode"]["classes"]
    images = [{"image": one["image"], "label": of["name"]} for of in classes for one in of["images"]]
    return [one for one in images if one["image"] != QUERY]


def answer(page, status=200, **given):
    found = page.post("/api/episode", json={"query": QUERY, **given})
    assert found.status_code == status, found.text
    return found.json()


def by_library(encoder, folder, page, supports, **options):
    files = sorted(folder.glob("*/*.png"))
    images = {one["image"]: files[int(one["image"].partition(":")[2])] for one in supports}
    groups = {}
    for one in supports:
        groups.setdefault(one["label"], []).append(read_image(images[one["image"]]))
    prepared = {name: encoder.preprocess(given) for name, given in groups.items()}
    return explain(encoder, encoder.preprocess([read_image(files[0])])[0], prepared, **options)


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "nearest-neighbor", "knn-vote"])
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_decision_and_explanation_are_the_library_s(page, encoder, folder, supports, rule, similarity):
    found = answer(page, supports=supports, rule=rule, similarity=similarity)
    expected = by_library(encoder, folder, page, supports, rule=rule, similarity=similarity, method="contrast")
    assert found["decision"]["name"] == expected.decision.name
    np.testing.assert_allclose(
        sorted(one["score"] for one in found["decision"]["scores"]), sorted(expected.decision.scores.tolist()), 1e-5
    )
    np.testing.assert_allclose(numbers(found["why"]["query"]["cells"]), expected.cells, rtol=1e-3, atol=1e-6)
    assert found["why"]["score"] == pytest.approx(float(expected.exact_score), abs=1e-6)
    audit = support_audit(expected)
    assert {one["image"] for one in found["audit"] if one["flips"]} == {
        supports[_place(audit, at)]["image"] for at in audit.flips.nonzero().tolist()
    }


def _place(audit, at):
    counts = (~audit.addends.isnan()).sum(dim=1).tolist()
    return sum(counts[: at[0]]) + at[1]


def test_a_support_that_is_taken_away_or_moved_is_decided_without_or_anew(page, encoder, folder, supports):
    fewer = supports[1:]
    assert answer(page, supports=fewer)["why"]["score"] == pytest.approx(
        float(by_library(encoder, folder, page, fewer, method="contrast").exact_score), abs=1e-6
    )
    moved = [{**supports[0], "label": "new class"}, *supports[1:]]
    found = answer(page, supports=moved)
    expected = by_library(encoder, folder, page, moved, method="contrast")
    assert {one["name"] for one in found["decision"]["scores"]} == set(expected.decision.classes)
    assert found["why"]["score"] == pytest.approx(float(expected.exact_score), abs=1e-6)


def test_leaving_out_is_what_taking_away_does(page, supports):
    found = answer(page, supports=supports)
    for one in found["audit"]:
        left = [support for support in supports if support["image"] != one["image"]]
        assert answer(page, supports=left)["decision"]["name"] == one["label_without"]


def test_an_image_that_is_given_can_be_a_support(page, supports):
    written = io.BytesIO()
    torch.manual_seed(0)
    from torchvision.transforms.functional import to_pil_image

    to_pil_image(torch.rand(3, 60, 60)).save(written, "PNG")
    given = page.post("/api/uploads", content=written.getvalue()).json()
    found = answer(page, supports=[*supports, {"image": given["query"], "label": "noise"}])
    assert "noise" in {one["name"] for one in found["decision"]["scores"]}
    alone = page.post("/api/episode", json={"query": given["query"], "supports": supports})
    assert alone.status_code == 200


def test_pairs_add_up_to_their_support_s_addend(page, supports):
    for one in answer(page, supports=supports)["why"]["supports"]:
        if one["pairs"] is not None:
            assert numbers(one["pairs"]["table"]).sum() == pytest.approx(one["amount"], abs=1e-5)


def test_a_query_among_its_supports_is_said(page, supports):
    own = [*supports, {"image": QUERY, "label": "blue"}]
    assert "is one of its own supports" in answer(page, supports=own)["notes"][0]
    assert answer(page, supports=supports)["notes"] == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"supports": []}, 400),
        ({"supports": [{"image": "support:99", "label": "x"}]}, 404),
        ({"supports": [{"image": "/etc/passwd", "label": "x"}]}, 404),
        ({"supports": [{"image": "support:1", "label": ""}]}, 400),
        ({"supports": [{"image": "support:1", "label": "x"}] * 2}, 400),
        ({"supports": [{"image": "support:1", "label": "x"}]}, 400),  # a contrast of one class
        ({"query": "support:99"}, 404),
        ({"method": "none"}, 404),
        ({"method": "chefer"}, 404),
        ({"rule": "none"}, 404),
        ({"similarity": "none"}, 404),
        ({"target": "none"}, 404),
        ({"detail": 17}, 404),
        ({"box": "0,0,0,0"}, 400),
    ],
)
def test_each_wrong_episode_has_one_sentence(page, supports, change, status):
    said = answer(page, status, **{"supports": supports, **change})["error"]
    assert said[0].isupper()
    assert "/tmp" not in said


def test_the_call_that_is_shown_gives_the_same(page, supports):
    found = answer(page, supports=supports, box="10,10,60.5,70")
    scope = {}
    exec(found["call"], scope)
    assert float(scope["explanation"].exact_score) == pytest.approx(found["why"]["score"], abs=1e-6)
    assert scope["explanation"].decision.name == found["decision"]["name"]


def test_exports(page, supports):
    given = {"query": QUERY, "supports": supports}
    arrays = np.load(io.BytesIO(page.post("/api/episode/arrays", json=given).content))
    np.testing.assert_allclose(arrays["cells"], numbers(answer(page, supports=supports)["why"]["query"]["cells"]))
    assert "<h1" in page.post("/api/episode/page", json=given).text
    assert page.post("/api/episode/json", json=given).json()["decision"]
