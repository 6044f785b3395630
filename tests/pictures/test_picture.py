import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from written_explanations import (
    CLASSES,
    SIZE,
    batch_of_two,
    written_contrast,
    written_explanation,
    written_fam,
    written_lafam,
)

from fsl_explain.classifiers import Decision
from fsl_explain.pictures.picture import (
    color_meanings,
    colorize,
    draw,
    has_say,
    overlay,
    rivals,
    shots,
    support_overlay,
)
from fsl_explain.pictures.shown_figure import as_png

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def titles(figure):
    return [axes.get_title().replace("\n", " ") for axes in figure.axes]


def test_positive_is_red_negative_is_blue_and_zero_is_neutral():
    negative, zero, positive = colorize(torch.tensor([[-2.0, 0.0, 1.0]]), signed=True)[0]
    assert positive[0] > positive[2] + 0.2
    assert negative[2] > negative[0] + 0.2
    assert zero.max() - zero.min() < 1e-6
    assert zero.min() > 0.9


def test_the_scale_of_a_signed_map_is_symmetric():
    values = torch.tensor([[-2.0, -1.0, 1.0]])
    colors = colorize(values, signed=True)[0]
    assert torch.equal(colorize(-values, signed=True)[0, 1], colors[2])
    assert torch.equal(colorize(torch.tensor([[1.0, 2.0]]), signed=True, limit=2.0)[0, 0], colors[2])


def test_an_unsigned_map_grows_brighter_and_is_not_stretched():
    brightness = colorize(torch.tensor([[0.0, 0.25, 0.5]]), signed=False)[0].sum(dim=-1)
    assert (brightness.diff() > 0).all()
    assert torch.equal(colorize(torch.tensor([[0.5]]), False), colorize(torch.tensor([[0.5, 1.0]]), False)[:, :1])


def test_an_undefined_value_is_drawn_as_zero():
    values = torch.tensor([[torch.nan, 0.0, 1.0]])
    for signed in (True, False):
        colors = colorize(values, signed)
        assert torch.equal(colors[0, 0], colors[0, 1])


@pytest.mark.parametrize("signed", [True, False])
def test_an_overlay_leaves_the_photograph_where_the_map_is_zero_and_shows_it_through_elsewhere(signed):
    values = torch.tensor([[0.0, 0.5, 1.0]])
    dark = overlay(torch.zeros(3, 1, 3), values, signed)[0]
    bright = overlay(torch.ones(3, 1, 3), values, signed)[0]
    seen = (bright - dark).mean(dim=-1)
    assert seen[0] == 1
    assert (seen.diff() < 0).all()
    assert seen[2] > 0.2


def test_an_overlay_of_a_zero_signed_map_is_the_photograph():
    image = torch.rand(3, 2, 2)
    assert torch.equal(overlay(image, torch.zeros(2, 2), signed=True), image.movedim(0, -1))


def test_padding_is_not_a_support_and_a_silent_support_is_its_photograph():
    explanation = written_explanation()
    assert shots(explanation, 0) == [0, 1]
    assert shots(explanation, 1) == [0]
    assert has_say(explanation, 0, 1)
    assert not has_say(explanation, 1, 0)
    photograph = explanation.support_images[1, 0].movedim(0, -1)
    assert torch.allclose(support_overlay(explanation, 1, 0), photograph)
    assert not torch.allclose(support_overlay(explanation, 0, 0), explanation.support_images[0, 0].movedim(0, -1))


def test_the_supports_of_a_class_share_one_signed_scale():
    cells = written_explanation().support_cells.clone()
    cells[0, 1] = cells[0, 0] / 4
    strong, weak = (
        support_overlay(written_explanation(support_cells=cells, photographs=False), 0, shot) for shot in (0, 1)
    )
    neutral = colorize(torch.zeros(1, 1), signed=True)[0, 0]
    assert (weak - neutral).abs().max() < 0.6 * (strong - neutral).abs().max()


def test_a_support_of_an_unsigned_map_is_rescaled_on_its_own():
    cells = written_explanation().support_cells / 4 + 0.25
    explanation = written_explanation("fam", signed=False, photographs=False, support_cells=cells)
    drawn = support_overlay(explanation, 0, 0).sum(dim=-1)
    scale = colorize(torch.tensor([[0.0, 1.0]]), signed=False)[0].sum(dim=-1)
    assert drawn.min() == scale[0]
    assert drawn.max() == scale[1]


def test_colors_are_named_after_classes():
    assert color_meanings(written_explanation()) == ("against gull", "for gull")
    assert color_meanings(written_contrast(way=2)) == (f"for {CLASSES[1]}", "for gull")
    assert color_meanings(written_contrast(way=5)) == ("for the mean of 4 other classes", "for gull")
    assert color_meanings(written_fam()) == ("low", "high")


def test_rivals_come_best_score_first():
    scores = torch.tensor([0.75, 0.1, 0.2])
    against = written_contrast().against
    explanation = written_explanation("contrast", against=against, decision=Decision(0, scores, CLASSES))
    assert rivals(explanation) == [2, 1]
    assert rivals(written_explanation()) == []


def test_a_plot_shows_the_query_its_map_and_the_supports_of_the_explained_class():
    assert titles(draw(written_explanation()))[:5] == [
        "query",
        "query with its exact map",
        "map",
        "",
        "gull, support 1",
    ]
    shown = titles(draw(written_contrast()))
    assert [title for title in shown if "support" in title] == [
        "gull, support 1",
        "gull, support 2",
        f"{CLASSES[1]}, support 1",
        "$tern$, support 1",
        "$tern$, support 2",
    ]


def test_a_plot_of_many_rivals_says_how_many_it_draws():
    figure = draw(written_contrast(way=6))
    assert sum("support" in title for title in titles(figure)) == 7
    assert "the mean of 5 other classes" in figure.get_suptitle().replace("\n", " ")
    assert "(3 of them drawn)" in figure.get_suptitle()


@pytest.mark.parametrize("make", [written_explanation, written_contrast, written_fam, written_lafam])
def test_a_notebook_gets_a_png(make):
    explanation = make()
    picture = explanation._repr_png_()
    assert picture.startswith(PNG_SIGNATURE)
    assert picture == as_png(explanation.plot())


def test_a_class_name_is_no_formula():
    names = (r"$\frac$", r"$\nothing$", "$_$")
    contrast = written_contrast()
    decision = Decision(0, contrast.decision.scores, names)
    figure = draw(written_explanation("contrast", against=contrast.against, decision=decision))
    assert as_png(figure).startswith(PNG_SIGNATURE)
    assert names[0] in figure.get_suptitle()


def test_supports_given_as_features_are_drawn_as_maps():
    assert as_png(draw(written_explanation(photographs=False))).startswith(PNG_SIGNATURE)
    assert support_overlay(written_explanation(photographs=False), 0, 0).shape == (*SIZE, 3)


def test_a_plot_leaves_matplotlib_as_it_was():
    settings, backend = dict(mpl.rcParams), mpl.get_backend()
    written_explanation()._repr_png_()
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == settings
    assert mpl.get_backend() == backend


def test_a_batch_is_to_be_indexed_first():
    batch = batch_of_two()
    with pytest.raises(ValueError, match=r"expected the explanation of one query, .* batch of 2; index it"):
        batch.plot()
    assert batch._repr_png_() is None
    assert batch[1]._repr_png_().startswith(PNG_SIGNATURE)


def test_a_notebook_shows_a_figure_though_pyplot_does_not_know_it():
    explanation = written_explanation()
    assert explanation.plot()._repr_png_() == as_png(explanation.plot())
