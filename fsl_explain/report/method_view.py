"""One method's card: overlay, plain map, largest channels and receipt."""

from dataclasses import dataclass

import torch

from fsl_explain.explainers import Explanation
from fsl_explain.pictures.picture import color_meanings, colorize, overlay
from fsl_explain.report.bars import Bars, bars
from fsl_explain.report.heatmap import Picture, gradient, picture
from fsl_explain.report.numbers import decimals, fixed
from fsl_explain.report.receipt import NOT_SPLIT, Receipt, receipt, splits_the_score
from fsl_explain.report.wording import description

MAP_WIDTH = 230  # CSS pixels
SHOWN_CHANNELS = 8


@dataclass(frozen=True)
class Legend:
    """The colors of a map and what their two ends mean."""

    gradient: str
    low: str
    high: str
    signed: bool


@dataclass(frozen=True)
class Channels:
    """The largest channels and what the others hold."""

    title: str
    bars: Bars
    rest: str


@dataclass(frozen=True)
class MethodView:
    """What the page shows of one explanation; a method that does not split the score has no channels and no receipt."""

    name: str
    description: str
    overlay: Picture
    plain: Picture
    legend: Legend
    channels: Channels | None
    receipt: Receipt | None
    grid: str  # how many cells the map has
    not_split: str = NOT_SPLIT


def method_view(name: str, explanation: Explanation, image: str = "the query") -> MethodView:
    """Prepare the card of one explanation; ``image`` says in words which image its map is of."""
    saliency, signed = explanation.saliency.float(), explanation.signed
    laid = overlay(explanation.image, saliency, signed)
    return MethodView(
        name=name,
        description=description(explanation),
        overlay=picture(laid, f"map of {name} over {image}", MAP_WIDTH),
        plain=picture(colorize(saliency, signed), f"map of {name} alone", MAP_WIDTH),
        legend=legend(explanation),
        channels=_channels(explanation) if splits_the_score(explanation) else None,
        receipt=receipt(explanation),
        grid=_grid(explanation),
    )


def _grid(explanation: Explanation) -> str:
    cells, pixels = tuple(explanation.cells.shape), tuple(explanation.saliency.shape)
    return "" if cells == pixels else f"A map of {cells[0]}×{cells[1]} cells."


def legend(explanation: Explanation) -> Legend:
    """Say which color of the explanation's maps means what."""
    low, high = color_meanings(explanation)
    return Legend(gradient(explanation.signed), low, high, explanation.signed)


def _channels(explanation: Explanation) -> Channels:
    contributions = explanation.contributions
    largest = contributions.abs().sort(descending=True, stable=True).indices[:SHOWN_CHANNELS]
    values = contributions[largest].tolist()
    places = decimals(values, significant=4)
    labels = [f"channel {channel}" for channel in largest.tolist()]
    texts = [fixed(value, places, plus=True) for value in values]
    what = f"{explanation.addends}, which do not add up to the score" if explanation.ranks else explanation.addends
    return Channels(
        title=f"Largest channels ({what})",
        bars=bars(labels, values, texts, symmetric=True),
        rest=_rest(contributions, largest, places),
    )


def _rest(contributions: torch.Tensor, largest: torch.Tensor, places: int) -> str:
    others = len(contributions) - len(largest)
    if others == 0:
        return ""
    total = float(contributions.sum() - contributions[largest].sum())
    return f"The other {others} together: {fixed(total, places, plus=True)}."
