"""The picture of a correspondence's singular parts, tested by what it shows."""

import numpy as np
import pytest
import torch

from fsl_explain import Encoder, correspondence, explain
from fsl_explain.pictures.paired_patterns import draw


def two_colors_explained(method="exact"):
    """Red is left in the query and right in the support; green the other way round."""
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(4)), "0")
    query, support = torch.full((2, 3, 16, 16), 0.0)
    query[0, :, :8], query[1, :, 8:] = 1.0, 0.5
    support[0, :, 8:], support[1, :, :8] = 1.0, 0.5
    other = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    return explain(encoder, query, {"a": support[None], "b": other[None]}, method=method, target="a")


def reds(axes):
    """How much redder than gray each half of a picture is."""
    shown = np.asarray(axes.images[0].get_array())
    redness = shown[..., 0] - shown[..., 2]
    return redness[:, :6].mean(), redness[:, 10:].mean()


def test_the_first_part_pairs_the_red_halves():
    explanation = two_colors_explained()
    figure = draw(explanation, count=2)
    upper, _, lower, _ = figure.axes
    assert reds(upper)[0] > reds(upper)[1]
    assert reds(lower)[1] > reds(lower)[0]
    first, second = correspondence(explanation).parts(2)
    total = float(explanation.score)
    assert first.amount / total == pytest.approx(0.8)
    assert second.amount / total == pytest.approx(0.2)
    assert [axes.get_title().split(":")[1].split("%")[0].strip() for axes in figure.axes[:2]] == ["80", "20"]


def test_features_alone_have_no_photographs():
    encoder = Encoder.wrap(torch.nn.Sequential(torch.nn.AvgPool2d(2)), "0")
    features = encoder(torch.rand(2, 3, 8, 8)).unflatten(2, 1)
    with pytest.raises(ValueError, match="patterns are drawn on the supports' photographs"):
        draw(explain(encoder, torch.rand(3, 8, 8), features))
