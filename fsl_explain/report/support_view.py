"""How the supports add up: one signed bar each, what is decided without them, and the regions that met."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from fsl_explain.explainers import Explanation, Receipt
from fsl_explain.explainers.analysis.correspondence import compares_means
from fsl_explain.explainers.analysis.support_audit import support_audit
from fsl_explain.pictures.linked_regions import SIDE, draw
from fsl_explain.pictures.shown_figure import as_png
from fsl_explain.report.bars import Bars, bars
from fsl_explain.report.heatmap import Picture, picture
from fsl_explain.report.numbers import decimals, fixed, scientific
from fsl_explain.report.page import Case
from fsl_explain.report.scale_view import ScaleView, scale_view
from fsl_explain.report.standing_pair import standing_pair, strongest
from fsl_explain.report.wording import rival_words

SHOWN_SUPPORTS = 16
LINKED_WIDTH = 330  # CSS pixels of one photograph


@dataclass(frozen=True)
class SupportReceipt:
    """The addition of one score over supports and constants, with its residual."""

    title: str
    bars: Bars
    total: str
    linked: Picture | None
    scales: ScaleView | None  # of a decision at several
    standing: dict[str, Any] | None = None  # query and strongest supports, to be pointed at


def decided_by_supports(case: Case) -> Explanation:
    """Return the explanation whose receipt is shown: the contrast, or the main one where there is none."""
    return next((e for e in case.explanations.values() if e.against is not None), case.main_explanation)


def support_receipt(case: Case) -> SupportReceipt:
    """Prepare the receipt of the case's contrast, or of its main explanation where there is none."""
    explanation = decided_by_supports(case)
    receipt = explanation.receipt()
    rows = _rows(case, explanation, receipt)
    values = [value for _, value, _ in rows]
    places = decimals([*values, receipt.score], significant=4)
    share = receipt.residual / receipt.absolute_sum if receipt.absolute_sum > 0 else 0.0
    texts = [fixed(value, places, plus=True) for value in values]
    return SupportReceipt(
        title=receipt_title(explanation),
        bars=bars([label for label, _, _ in rows], values, texts, [marks for _, _, marks in rows], symmetric=True),
        total=f"Together {fixed(receipt.total, places, plus=True)}; the model's own score is "
        f"{fixed(receipt.score, places, plus=True)} (residual {scientific(receipt.residual)}, "
        f"{scientific(share)} of the absolute addends).",
        linked=linked_picture(explanation),
        scales=scale_view(receipt),
        standing=standing_pair(explanation, _strongest(case, explanation)),
    )


def _strongest(case: Case, explanation: Explanation) -> list[tuple[int, int, str]]:
    """Name the strongest support of the explained class and, for a contrast, of its best rival."""
    names = explanation.decision.classes
    return [(label, shot, support_name(case, names[label], shot)) for label, shot in strongest(explanation)]


def _rows(case: Case, explanation: Explanation, receipt: Receipt) -> list[tuple[str, float, tuple[str, ...]]]:
    """Return label, value and marks of each bar: the largest supports, the rest of them, the constants."""
    audit = support_audit(explanation)
    flips = {
        (audit.classes[label], shot): (f"without it: {audit.classes[int(audit.labels_without[label, shot])]}",)
        for label, shot in audit.flips.nonzero().tolist()
    }
    lines = receipt.largest_first()
    rows = [
        (support_name(case, line.class_name, line.shot), line.amount, flips.get((line.class_name, line.shot), ()))
        for line in lines[:SHOWN_SUPPORTS]
    ]
    rest = lines[SHOWN_SUPPORTS:]
    if rest:
        rows.append((f"the other {len(rest)} together", sum(line.amount for line in rest), ()))
    return [*rows, *((name, value, ()) for name, value in receipt.constants.items())]


def support_name(case: Case, class_name: str, shot: int) -> str:
    """Name a support by its class and number, and by its file or prompt where that is known."""
    prompts = case.prompts.get(class_name) or ()
    if shot < len(prompts):
        return class_name if tuple(prompts) == (class_name,) else f"{class_name}: {prompts[shot]}"
    files = case.support_names.get(class_name) or ()
    file = files[shot] if shot < len(files) else ""
    return f"{class_name}, support {shot + 1}{f' ({file})' if file else ''}"


def receipt_title(explanation: Explanation) -> str:
    """Say which sum the receipt is."""
    target = explanation.decision.classes[int(explanation.target)]
    if explanation.against is None:
        return f"How the supports add up to the score of {target}"
    return f"How the supports add up to the lead of {target} over {rival_words(explanation)}"


def linked_picture(explanation: Explanation, query_title: str | None = None) -> Picture | None:
    """Draw the regions that met; None where the supports' photographs were not given, or no pairs of cells add up."""
    if explanation.support_images is None or explanation.query.steps is not None or compares_means(explanation):
        return None
    drawn = Image.open(BytesIO(as_png(draw(explanation, query_title=query_title), dpi=2 * LINKED_WIDTH // SIDE)))
    colors = torch.from_numpy(np.array(drawn.convert("RGB"))).float() / 255
    images = 3 if explanation.against is not None else 2
    return picture(colors, "regions of the query and of supports, linked by lines", LINKED_WIDTH * images)
