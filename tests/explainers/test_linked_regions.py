"""The picture of linked regions, tested by what it shows."""

import pytest
import torch
from matplotlib.patches import ConnectionPatch, Rectangle

from fsl_explain import Encoder, explain
from fsl_explain.explainers.linked_regions import AGAINST, FOR, draw
from fsl_explain.explainers.picture import as_png


def red_corner_explained(method):
    """Red sits in the query's upper left; in the red class lower right, and faintly in the other class's middle."""
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    query, red, green = torch.full((3, 3, 14, 14), 0.01)
    query[0, :4, :4] = red[0, 10:, 10:] = 1.0
    green[1], green[0, 6:8, 6:8] = 1.0, 0.5
    return explain(encoder, query, {"red": red[None], "green": green[None]}, method)


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
