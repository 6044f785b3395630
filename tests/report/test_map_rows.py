"""Maps side by side at the head of a page: every image a row, every method a column."""

import re

import pytest
import torch

from fsl_explain.evaluation import Table
from fsl_explain.pictures.picture import overlay
from fsl_explain.report import MapRow, Page, render_page
from fsl_explain.report.heatmap import gradient, picture
from fsl_explain.report.rows_view import rows_view

BOX = torch.tensor([2.0, 3.0, 6.0, 9.0])


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 12, 8, generator=generator)
    maps = torch.rand(3, 12, 8, generator=generator) * 2 - 1
    return (
        MapRow("a <gull>", images[0], {"contrast": maps[0], "lafam": maps[1].abs()}, {"contrast"}, BOX),
        MapRow("a tern", images[1], {"lafam": maps[2].abs(), "own": maps[0].abs()}),
    )


def test_columns_are_methods_and_missing_maps_are_dashes(rows):
    view = rows_view(rows)
    assert view.methods == ("contrast", "lafam", "own")
    there = [[shown is not None for shown in row.maps] for row in view.rows]
    assert there == [[True, True, False], [False, True, True]]
    assert (view.rows[0].box.left, view.rows[0].box.top) == (25, 25)
    assert (view.rows[0].box.width, view.rows[0].box.height) == (50, 50)
    assert view.rows[1].box is None


def test_each_cell_is_its_map_over_its_image(rows):
    first = rows_view(rows).rows[0]
    laid = overlay(rows[0].image, rows[0].maps["contrast"], True)
    assert first.maps[0] == picture(laid, "map of contrast over a <gull>", 132)


def test_both_kinds_of_scales_are_told(rows):
    both = ((gradient(True), "speaks against", "speaks for"), (gradient(False), "least", "most"))
    assert rows_view(rows).scales == both
    assert rows_view(rows[1:]).scales == ((gradient(False), "least", "most"),)
    assert rows_view(()) is None


def test_they_come_before_the_tables(rows):
    table = Table("What tells maps apart", ["method", "AUC"], [["lafam", "1.5"]], ())
    written = render_page(Page("Explainers compared", tables=[table], rows=rows))
    order = [written.index(words) for words in ("The maps, side by side", "a &lt;gull&gt;", "What tells maps apart")]
    assert order == sorted(order)
    assert written.count("<img ") == 2 + 4
    assert all(re.search(rf'<th scope="col">{name}</th>', written) for name in ("contrast", "lafam", "own"))
    assert "A frame is the annotated box." in written
    assert "A frame is the annotated box." not in render_page(Page("Compared", rows=rows[1:]))
    assert "side by side" not in render_page(Page("Compared", tables=[table]))


def test_a_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"the map of 'fam' to be of the size of its image, \(4, 5\), but got"):
        MapRow("a gull", torch.zeros(3, 4, 5), {"fam": torch.zeros(2, 2)})
