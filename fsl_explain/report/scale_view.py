"""What each scale adds to a decision that is the mean over several, as a page shows it."""

from dataclasses import dataclass

from fsl_explain.explainers import Receipt
from fsl_explain.explainers.receipt import disagreement
from fsl_explain.report.bars import Bars, bars
from fsl_explain.report.numbers import decimals, fixed, scientific


@dataclass(frozen=True)
class ScaleView:
    """A bar for each scale, their sum with its residual, and a word where they decide differently, "" otherwise."""

    bars: Bars
    total: str
    word: str


def scale_view(receipt: Receipt) -> ScaleView | None:
    """Prepare the lines of the scales; None for a decision at one."""
    if not receipt.scales:
        return None
    values = [line.amount for line in receipt.scales]
    constants = sum(receipt.constants.values())
    places = decimals([*values, *(line.score for line in receipt.scales), receipt.score], significant=4)
    labels = [
        f"{line.side} pixels, {line.weight:.3g} × {fixed(line.score, places, plus=True)}"
        f"{f', decides {line.chosen}' if line.chosen else ''}"
        for line in receipt.scales
    ]
    rest = f" and the constants {fixed(constants, places, plus=True)}" if constants else ""
    return ScaleView(
        bars=bars(labels, values, [fixed(value, places, plus=True) for value in values], symmetric=True),
        total=f"The scales{rest} add up to {fixed(sum(values) + constants, places, plus=True)}; the score is "
        f"{fixed(receipt.score, places, plus=True)} (residual {scientific(receipt.residual_of_scales)}).",
        word=disagreement(receipt.scales),
    )
