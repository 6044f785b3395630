"""The picture of linked regions, tested by what it shows."""

import pytest
import torch
from matplotlib.patches import ConnectionPatch, Rectangle

from fsl_explain import Encoder, correspondence, explain
from fsl_explain.pictures.linked_regions import AGAINST, FOR, draw
from fsl_explain.pictures.shown_figure import as_png


def red_corner_explained(method):
    """Red sits in the query's upper left; in the red class lower right, and faintly in the other class's middle."""
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    query, red, green = torch.full((3, 3, 14, 14), 0.01)
    query[0, :4, :4] = red[0, 10:, 10:] = 1.0
    green[1], green[0, 6:8, 6:8] = 1.0, 0.5
    return explain(encoder, query, {"red": red[None], "green": green[None]}, method=method)


def drawn(figure, kind, axes=None):
    found = figure.findobj(kind) if axes is None else axes.findobj(kind)
    return [patch for patch in found if type(patch) is kind]


def test_the_red_corner_is_linked_with_the_red_corner():
    query, support = draw(red_corner_explained("exact"), count=1).axes
    (frame,) = [patch for patch in query.patches if isinstance(patch, Rectangle)]
    (other,) = [patch for patch in support.patches if isinstance(patch, Rectangle)]
    assert (frame.get_xy(), frame.get_width()) == ((-0.5, -0.5), 4.0)
    assert other.get_xy() == (9.5, 9.5)
    assert "red" in support.get_title()
    assert "79 %" in support.get_title()  # the corner's share of the similarity; the rest is the gray around it


def test_a_contrast_stands_between_its_rival_in_blue_and_its_class_in_red():
    figure = draw(red_corner_explained("contrast"), count=1)
    rival, query, target = figure.axes
    assert "green" in rival.get_title()
    assert "query, decided as" in query.get_title()
    assert "red" in target.get_title()
    colors = [patch.get_edgecolor() for patch in (*rival.patches, *target.patches)]
    from matplotlib.colors import to_rgba

    assert colors == [to_rgba(AGAINST), to_rgba(FOR)]
    assert len(drawn(figure, ConnectionPatch)) == 2
    assert as_png(figure) == as_png(draw(red_corner_explained("contrast"), count=1))


def test_features_alone_have_no_photographs_to_link():
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    features = encoder(torch.rand(2, 3, 8, 8)).unflatten(2, 1)
    with pytest.raises(ValueError, match="linked regions are drawn on the supports' photographs"):
        draw(explain(encoder, torch.rand(3, 8, 8), features))


def two_squares_explained(method="exact"):
    """A bright and a faint red square of 4 × 4 pixels; the class's second photograph has both, at other places."""
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    query, supports, green = torch.full((3, 12, 20), 0.01), torch.full((2, 3, 16, 12), 0.01), torch.zeros(3, 16, 12)
    query[0, 8:, :4] = supports[1, 0, 12:, 4:8] = 1.0
    query[2, :4, 12:16] = supports[1, 2, :4, 8:] = 0.6
    green[1], green[0, 4:8, 4:8] = 1.0, 0.5
    return explain(
        encoder, query, {"red": supports, "green": green[None]}, method=method, rule="nearest-neighbor", target="red"
    )


def test_frames_stand_where_the_squares_are_on_photographs_of_any_shape():
    explanation = two_squares_explained()
    query, support = draw(explanation, count=2).axes
    for axes, corners in ((query, [(-0.5, 7.5), (11.5, -0.5)]), (support, [(3.5, 11.5), (7.5, -0.5)])):
        frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert [frame.get_xy() for frame in frames] == corners
        assert {(frame.get_width(), frame.get_height()) for frame in frames} == {(4.0, 4.0)}
    shown = torch.from_numpy(support.images[0].get_array()).movedim(-1, 0)
    torch.testing.assert_close(shown, explanation.support_images[0, 1])


def test_a_line_is_as_thick_as_its_share_of_the_whole_similarity():
    explanation = two_squares_explained()
    figure = draw(explanation, count=2)
    split = correspondence(explanation, label="red")
    total = split.weight * split.similarity
    shares = [match.amount / total for match in split.strongest_regions(2, side=2)]
    widths = [line.get_linewidth() for line in drawn(figure, ConnectionPatch)]
    assert widths == pytest.approx([0.6 + 3.4 * share for share in shares])
    assert widths[1] < 3


def test_pairs_are_numbered_for_the_class_and_lettered_for_the_rival_with_their_shares():
    explanation = two_squares_explained("contrast")
    rival, query, target = draw(explanation, count=2).axes
    assert [text.get_text() for text in target.texts] == ["1", "2"]
    assert [text.get_text() for text in rival.texts] == ["a", "b"]
    assert [text.get_text() for text in query.texts] == ["1", "2", "a", "b"]
    for axes, label, names in ((target, 0, "12"), (rival, 1, "ab")):
        split = correspondence(explanation, label=label)
        addend = split.weight * split.similarity
        shares = [100 * match.amount / addend for match in split.strongest_regions(2, side=2)]
        listed = ", ".join(f"{name}: {share:.0f} %" for name, share in zip(names, shares, strict=True))
        assert f"contributes {addend:+.3g}: {listed}" in axes.get_title().replace("\n", " ")
        assert (addend > 0) == (label == 0)
