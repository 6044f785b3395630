"""Does an explanation add up to the score it explains? In numbers and in words."""

from dataclasses import dataclass

from fsl_explain.classifiers import frozen_part
from fsl_explain.explainers import Explanation
from fsl_explain.report.numbers import decimals, fixed, scientific

TOLERANCE = 1e-5  # of the sum of the absolute terms; float32 rounding stays below it

NOT_SPLIT = "This method does not split the score, so there is nothing to add up."
BY_DESIGN = "By design: these are the {addends}, which rank channels."
BY_CHANCE = "Happens to add up to the score, which the {addends} are not made for."


@dataclass(frozen=True)
class Receipt:
    """The addition, line by line, and its verdict."""

    lines: tuple[tuple[str, str], ...]
    adds_up: bool
    verdict: str


def splits_the_score(explanation: Explanation) -> bool:
    """Tell whether the method gives each channel a share at all."""
    return not bool(explanation.contributions.isnan().any())


def adds_up(explanation: Explanation) -> bool:
    """Tell whether contributions and bias are the score, up to rounding."""
    return float(explanation.residual) <= TOLERANCE * float(explanation.absolute_sum)


def receipt(explanation: Explanation) -> Receipt | None:
    """Add contributions and bias and compare them with the score; None for a method that does not split it."""
    if not splits_the_score(explanation):
        return None
    terms, bias, score = explanation.contributions.sum(), explanation.bias, explanation.score
    numbers = [float(value) for value in (terms, bias, terms + bias, score)]
    places = decimals(numbers, significant=6)
    labels = [
        f"Σ of {len(explanation.contributions)} {explanation.addends}{_integrated(explanation)}",
        "bias",
        "sum",
        _what_is_explained(explanation),
    ]
    lines = [(label, fixed(number, places)) for label, number in zip(labels, numbers, strict=True)]
    lines[2:2] = [(f"of which {name}", fixed(float(value), places)) for name, value in explanation.named.items()]
    share = explanation.query.share_of_cells if explanation.signed else None
    residual, size = float(explanation.residual), float(explanation.absolute_sum)
    lines.append(("residual |score − sum|", scientific(residual)))
    lines.append(("residual / Σ|terms|", scientific(residual / size) if size > 0 else "–"))
    lines += _at_each_scale(explanation, places)
    if share is not None:
        lines.append(("share of Σ|terms| that the cells hold", f"{share:.0%}"))
    frozen = frozen_part(explanation.evidence.rule)
    lines += [("frozen", frozen)] if frozen and explanation.signed else []
    return Receipt(tuple(lines), adds_up(explanation), _verdict(explanation))


def _at_each_scale(explanation: Explanation, places: int) -> list[tuple[str, str]]:
    """Return the addend of each scale to the score, of a method that splits the score itself."""
    shares = explanation.scales if explanation.signed else None
    lines = () if shares is None else shares.lines(explanation.decision.classes)
    return [
        (f"at {line.side} pixels, {line.weight:.3g} × {fixed(line.score, places)}", fixed(line.amount, places))
        for line in lines
    ]


def _integrated(explanation: Explanation) -> str:
    return "" if explanation.query.steps is None else f", integrated in {int(explanation.query.steps)} steps"


def _what_is_explained(explanation: Explanation) -> str:
    return "score" if explanation.against is None else "score (difference of class scores)"


def _verdict(explanation: Explanation) -> str:
    if explanation.ranks:
        words = BY_CHANCE if adds_up(explanation) else f"Does not add up to the score. {BY_DESIGN}"
        return words.format(addends=explanation.addends)
    return "Adds up to the score." if adds_up(explanation) else "Does not add up to the score."
