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


def themes():
    """The colors by name, light and dark."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6}|#\w{3})\b", part)) for part in re.findall(r":root {[^}]*--[^}]*}", STYLE)
    )
    assert set(light) == set(dark)
    return [light, dark]


def contrast(one, other):
    darker, lighter = sorted(luminance(full(color)) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def full(color):
    return color if len(color) == 7 else "#" + "".join(2 * digit for digit in color[1:])


def test_bars_stand_out_from_their_track():
    fills = re.findall(r"\.(?:fill|positive|negative) { background: var\(--(\w+)\);", STYLE)
    assert len(fills) == 4
    for colors in themes():
        assert all(contrast(colors["track"], colors[fill]) >= 3 for fill in fills)


def test_text_stands_out_in_light_and_in_dark():
    """At least 4.5 : 1, what WCAG asks of text (AA)."""
    pairs = [(ink, ground) for ink in ("ink", "quiet", "accent", "good", "bad") for ground in ("ground", "paper")]
    pairs += [
        ("on-accent", "accent"),
        ("good", "good-ground"),
        ("bad-ink", "bad-ground"),
        ("ink", "badge"),
        ("quiet", "blank"),
    ]
    for colors in themes():
        assert {pair: contrast(*(colors[name] for name in pair)) >= 4.5 for pair in pairs} == dict.fromkeys(pairs, True)


def test_no_color_stands_outside_the_themes():
    """A color of its own would not change in the dark; a frame on a photograph and paper are meant to stay."""
    rest = re.sub(r":root {[^}]*}", "", STYLE)
    kept = [line for line in rest.splitlines() if re.search(r"#[0-9a-f]{3,6}\b", line)]
    assert all(line.startswith((".box", "  body { background: #fff; font-size")) for line in kept)


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
