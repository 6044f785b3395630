"""What a page or a notebook says of a result: short, readable, and what may mislead first."""

import re
from pathlib import Path

import pytest
import torch

from fsl_explain import report
from fsl_explain.classifiers import Decision
from fsl_explain.evaluation import Table
from fsl_explain.report import Page, render_page
from fsl_explain.report.html import distinct
from retrieval_explain import Neighbors
from retrieval_explain.inspection.shown_paths import common_folder, shown_path

STYLE = (Path(report.__file__).parent / "style.html").read_text()


@pytest.mark.parametrize(
    "result",
    [
        Decision(torch.zeros(500, dtype=torch.long), torch.rand(500, 90), ("a",) * 90),
        Neighbors(torch.zeros(500, 200, dtype=torch.long), torch.rand(500, 200)),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_result_is_one_line_however_many_numbers_it_holds(result):
    assert len(repr(result).splitlines()) == 1
    assert len(repr(result)) < 300
    assert "500" in repr(result)


def luminance(color):
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_bars_stand_out_from_their_track():
    track = re.search(r"\.track {[^}]*background: (#\w{6})", STYLE).group(1)
    variables = dict(re.findall(r"--(\w+): (#\w{6})", STYLE))
    fills = re.findall(r"\.(?:fill|positive|negative) { background: (?:(#\w{6})|var\(--(\w+)\));", STYLE)
    assert len(fills) == 4
    for color, variable in fills:
        light, dark = luminance(track), luminance(color or variables[variable])
        assert (light + 0.05) / (dark + 0.05) >= 3


def test_columns_of_dashes_are_left_out_and_bold_entries_stay_theirs():
    table = Table("t", ["name", "empty", "full"], [["a", "–", "1"], ["b", "–", "2"]], bold=frozenset({(1, 2)}))
    text = render_page(Page(title="Title", tables=[table]))
    assert "empty" not in text
    assert "<strong>2</strong>" in text


def test_notes_stand_before_everything_else():
    text = render_page(Page(title="Title", lead="Lead.", facts={"Fact": "1"}, notes=["The network is <random>."]))
    assert text.index("The network is &lt;random&gt;.") < text.index("<dt>Fact")


def test_titles_that_read_alike_are_numbered():
    assert distinct(["a", "b", "a"]) == ["a (1 of 2)", "b", "a (2 of 2)"]


def test_paths_are_shown_below_the_folder_of_the_images():
    paths = ["/srv/birds/tern/1.png", "/srv/birds/gull/2.png", "", "own/3.png"]
    folder = common_folder(paths)
    shown = [shown_path(path, folder) for path in paths]
    assert shown == ["tern/1.png", "gull/2.png", "", "own/3.png"]
    assert shown_path("/elsewhere/4.png", folder) == "4.png"
    assert common_folder([]) == ""
