"""Views to be pointed at in pages and notebooks: their numbers are the correspondence's, and only their script runs."""

import base64
import hashlib
import json
import re
import sys

import numpy as np
import pytest
from page_reader import PageReader
from served_colors import numbers
from tiny_encoder import tiny_encoder

from episodes.errors import MissingPackage, Mistake
from fsl_explain import correspondence, explain, widget
from fsl_explain.report import Case, Page, render_page
from fsl_explain.report.standing_pair import as_script, page_script, standing_pair, strongest
from fsl_explain.report.support_view import decided_by_supports


@pytest.fixture(scope="module")
def explanation():
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 6, 8, generator=generator, dtype=torch.float64)
    supports = {"gull": images[1:3], "</script><b>": images[3:5]}
    return explain(tiny_encoder(), images[0], supports, method="contrast")


@pytest.fixture(scope="module")
def written(explanation):
    return render_page(Page(title="t", cases=(Case("case", {"contrast": explanation}),)))


def said_in(written):
    scripts = re.findall(r'<script type="application/json">(.*?)</script>', written, re.DOTALL)
    return [json.loads(text) for text in scripts]


def test_the_page_holds_the_pairs_of_the_strongest_supports(explanation, written):
    (said,) = said_in(written)
    assert len(said["supports"]) == 2
    for (label, shot), support in zip(strongest(explanation), said["supports"], strict=True):
        expected = correspondence(explanation, label=label, shot=shot)
        np.testing.assert_allclose(numbers(support["pairs"]["table"]), expected.table.numpy(), rtol=1e-6)
        np.testing.assert_allclose(numbers(support["cells"]), explanation.support_cells[label, shot], rtol=1e-6)
    np.testing.assert_allclose(numbers(said["query"]["cells"]), explanation.cells, rtol=1e-6)


def test_only_the_page_s_own_script_is_allowed(written):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', written).group(1)
    (script,) = re.findall(r'<script type="module">(.*?)</script>', written, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.endswith(f"; script-src 'sha256-{digest}'")
    assert script == page_script()
    assert "://" not in written


def test_a_page_without_views_runs_nothing():
    written = render_page(Page(title="t"))
    assert "script" not in written


def test_names_cannot_end_the_script(written):
    assert [tag for tag, _ in PageReader(written).elements].count("script") == 2
    assert as_script({"name": "</script>&<!--"}) == '{"name": "\\u003c/script\\u003e\\u0026\\u003c!--"}'


def test_nothing_to_point_at_is_no_view(explanation):
    supports = [(0, 0, "a")]
    assert standing_pair(explanation, supports) is not None
    lafam = explain(*_asked(), method="lafam")
    assert standing_pair(lafam, supports) is None
    features = explain(*_asked(embedded=True), method="exact")
    assert standing_pair(features, supports) is None


def _asked(embedded=False):
    import torch

    images, encoder = torch.rand(3, 3, 6, 8, dtype=torch.float64), tiny_encoder()
    supports = {"a": images[1:2], "b": images[2:3]}
    return encoder, images[0], {name: encoder(given) for name, given in supports.items()} if embedded else supports


def test_the_widget_holds_the_same_and_draws_itself(explanation):
    shown = widget(explanation)
    case = Case("case", {"contrast": explanation})
    assert decided_by_supports(case) is explanation
    assert [one["pairs"] for one in shown.said["supports"]] == [
        one["pairs"] for one in standing_pair(explanation, [(*at, "t") for at in strongest(explanation)])["supports"]
    ]
    assert "export default { render }" in shown._esm
    assert ".pair-view" in shown._css


def test_a_widget_that_cannot_be_says_why(explanation, monkeypatch):
    with pytest.raises(Mistake, match="expected an explanation whose pairs of cells add up"):
        widget(explain(*_asked(), method="lafam"))
    encoder, query, supports = _asked()
    with pytest.raises(Mistake, match="but got that of a batch"):
        widget(explain(encoder, query[None], supports))
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingPackage, match=r"fsl-explain\[notebook\]"):
        widget(explanation)
