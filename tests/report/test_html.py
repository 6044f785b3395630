import re
from base64 import b64decode
from io import BytesIO

import pytest
import torch
from page_reader import PageReader
from PIL import Image
from written_explanations import CLASSES, written_contrast, written_explanation, written_fam, written_lafam

from fsl_explain.evaluation import Table
from fsl_explain.report import Case, Page, render_page, write_page

HOSTILE = CLASSES[1]


@pytest.fixture(scope="module")
def page() -> Page:
    explanations = {
        "exact": written_explanation(),
        "contrast": written_contrast(),
        "fam": written_fam(),
        "lafam": written_lafam(),
    }
    case = Case(
        title=f"A query {HOSTILE}",
        explanations=explanations,
        truth=HOSTILE,
        box=torch.tensor([6.0, 5.0, 18.0, 15.0]),
        figures={"exact": {"AD %": 23.456, "IoU": 0.12345}, "lafam": {"AD %": float("nan")}},
        query_name="query.jpg",
        support_names={"gull": ["first.jpg", f"{HOSTILE}.jpg"]},
        main="contrast",
    )
    table = Table("Over 200 episodes", ["method", "AD"], [[f"all {HOSTILE}", "1.5 ± 0.1"]], ["Smaller is better."])
    return Page(f"Title {HOSTILE}", "Lead.", {"Encoder": "conv4net"}, [table], [case, case])


@pytest.fixture(scope="module")
def written(page) -> str:
    return render_page(page)


@pytest.fixture(scope="module")
def reader(written) -> PageReader:
    return PageReader(written)


def test_a_hostile_class_name_is_text(written, reader):
    assert "<b>" not in written
    assert reader.all("b") == []
    assert f"Title {HOSTILE}" in reader.texts
    assert f"Decided: gull. This is wrong: it is {HOSTILE}." in reader.texts
    assert any(attributes.get("title") == f"2 {HOSTILE}.jpg" for attributes in reader.of_class("file"))


def test_the_page_points_nowhere_and_runs_its_own_script_alone(written, reader):
    assert "://" not in written
    assert "url(" not in written
    assert "@import" not in written
    assert {script["type"] for script in reader.all("script")} == {"application/json", "module"}
    assert all("src" not in script for script in reader.all("script"))
    pointers = [value for _, element in reader.elements for name, value in element.items() if name in ("src", "href")]
    assert len(pointers) > 20
    assert all(pointer.startswith(("data:", "#case-", "#main")) for pointer in pointers)


def test_every_picture_is_inside_and_has_a_text(reader):
    pictures = reader.all("img")
    assert len(pictures) == 2 * (1 + 5 + 4 * 2 + 1)
    for picture in pictures:
        image = Image.open(BytesIO(b64decode(picture["src"].removeprefix("data:image/webp;base64,"))))
        assert image.size == (int(picture["width"]), int(picture["height"]))
        assert picture["alt"]
    texts = {picture["alt"] for picture in pictures}
    assert {"query, decided as gull", "regions of the query and of supports, linked by lines"} <= texts


def test_every_method_class_and_table_is_shown(reader):
    for text in ("exact", "contrast", "fam", "lafam", *CLASSES, "Over 200 episodes", f"all {HOSTILE}", "1.5 ± 0.1"):
        assert text in reader.texts
    assert "Smaller is better." in reader.texts
    assert "conv4net" in reader.texts
    assert "Supports, with the map of contrast" in reader.texts
    assert "for the mean of 2 other classes" in reader.texts
    assert f"Each cell's share of the lead of gull over the mean of {HOSTILE} and $tern$." in reader.texts


def test_scores_are_those_of_the_decision_with_their_classes(reader):
    first = reader.texts.index("Score of every class") + 1
    assert reader.texts[first : first + 8] == [
        *("gull", "predicted", "0.7500"),
        *(HOSTILE, "true class", "0.5000"),
        *("$tern$", "0.2500"),
    ]


def test_channels_are_signed_and_ordered_by_size(reader):
    first = reader.texts.index("Largest channels (contributions)") + 1
    assert reader.texts[first : first + 6] == ["channel 0", "+0.5000", "channel 1", "−0.2500", "channel 2", "+0.1250"]
    assert "channel 8" not in reader.texts
    assert reader.texts[first + 16] == "The other 2 together: +0.0020."
    origins = [element["style"] for element in reader.of_class("origin")]
    assert origins.count("left:50.00%") == 2 * (3 * 8 + 5)


def test_receipts_show_the_numbers_and_say_so_in_words(reader):
    receipt = reader.texts[reader.texts.index("Receipt") + 1 :]
    verdict = reader.texts[reader.texts.index("Receipt") - 2]
    exact = written_explanation()
    assert receipt[:8] == [
        *("Σ of 10 contributions", f"{float(exact.contributions.sum()):.6f}"),
        *("bias", "0.250000"),
        *("sum", f"{float(exact.score):.6f}"),
        *("score", f"{float(exact.score):.6f}"),
    ]
    assert receipt[8:12:2] == ["residual |score − sum|", "residual / Σ|terms|"]
    assert receipt[12] == "share of Σ|terms| that the cells hold"
    assert verdict == "Adds up to the score."  # stands before the fold
    assert reader.texts.count("Adds up to the score.") == 4
    assert "Largest channels (weights of Eq. 15, which do not add up to the score)" in reader.texts
    assert re.search(r"Does not add up to the score\. By design: these are the weights of Eq\. 15", reader.text)
    assert reader.texts.count("This method does not split the score, so there is nothing to add up.") == 2


def test_the_supports_of_the_contrast_add_up_on_the_page(reader):
    """From the largest addend to the smallest, with the model's own score beside the sum."""
    title = f"How the supports add up to the lead of gull over the mean of {HOSTILE} and $tern$"
    first = reader.texts.index(title) + 1
    receipt = written_contrast().receipt()
    amounts = [f"{line.amount:+.4f}".replace("-", "−") for line in receipt.largest_first()]
    assert reader.texts[first : first + 2] == ["gull, support 1 (first.jpg)", amounts[0]]
    assert reader.texts[first + 1 : first + 10 : 2] == amounts
    score = f"{receipt.score:+.4f}"
    assert reader.texts[first + 10].startswith(f"Together {score}; the model's own score is {score} (residual ")


def test_figures_are_a_table_with_a_dash_for_what_is_not_defined(reader):
    first = reader.texts.index("Figures of this query") + 1
    assert reader.texts[first : first + 9] == ["method", "AD %", "IoU", "exact", "23.5", "0.123", "lafam", "–", "–"]


def test_the_box_stands_in_percent_of_the_picture(reader):
    boxes = reader.of_class("box")
    assert len(boxes) == 2 * 5
    assert boxes[0]["style"] == "left:25.00%;top:25.00%;width:50.00%;height:50.00%"


def test_a_class_without_a_say_is_said_to_have_none():
    explanation = written_explanation()
    reader = PageReader(render_page(Page("Page", cases=[Case("Case", {"exact": explanation})])))
    assert sum("no part in the explained score" in text for text in reader.texts) == 2
    without = written_explanation(photographs=False)
    reader = PageReader(render_page(Page("Page", cases=[Case("Case", {"exact": without})])))
    assert sum("no photographs were given" in text for text in reader.texts) == 3


def test_a_page_without_cases_is_a_page():
    reader = PageReader(render_page(Page("Only a title")))
    assert reader.texts == ["Only a title", "To the answer", "Only a title"]


def test_the_page_is_written_with_its_folder(page, written, tmp_path):
    path = tmp_path / "new" / "page.html"
    write_page(page, path)
    assert path.read_text(encoding="utf-8") == written
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_the_same_page_is_written_the_same(page, written):
    assert render_page(page) == written


@pytest.mark.parametrize("failing", ["fsl_explain.report.html.render_page", "pathlib.Path.replace"])
def test_a_failure_leaves_the_old_page_and_nothing_else(page, tmp_path, monkeypatch, failing):
    path = tmp_path / "page.html"
    path.write_text("old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(failing, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_page(page, path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_a_path_that_cannot_hold_a_page_is_refused(page, tmp_path):
    with pytest.raises(ValueError, match=r"expected a file to write the page to, but .* is a folder"):
        write_page(page, tmp_path)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "page.html", tmp_path / "file" / "deeper" / "page.html"):
        with pytest.raises(ValueError, match=r"expected .* to be a folder, but it is a file"):
            write_page(page, path)


def test_a_name_that_is_no_unicode_is_written_all_the_same(tmp_path):
    write_page(Page("photograph \udcff.jpg"), tmp_path / "page.html")
    assert "photograph ?.jpg" in (tmp_path / "page.html").read_text(encoding="utf-8")
