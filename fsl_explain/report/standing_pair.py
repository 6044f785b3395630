"""A query beside what it met, to be pointed at where no server answers: in a notebook, and in a page that is a file.

The script and the style are those of the workbench. A page allows this one script by its hash, and no other.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from episodes.errors import Mistake
from fsl_explain.explainers import Explanation
from fsl_explain.explainers.analysis.correspondence import compares_means, correspondence
from fsl_explain.pictures.picture import rivals, shots
from fsl_explain.report.heatmap import picture
from fsl_explain.report.numbers_sent import array

PARTS = Path(__file__).parent.parent / "serve" / "page"
WIDTH = 260  # CSS pixels of a photograph
MOST_ENTRIES = 40_000  # of a table in a page: 14×14 cells on both sides
START = """
for (const place of document.querySelectorAll(".standing-pair")) {
  standing(place.querySelector(".standing"), JSON.parse(place.querySelector("script").textContent));
}
"""


def strongest(explanation: Explanation) -> list[tuple[int, int]]:
    """Return class and shot of the strongest support of the explained class and, for a contrast, of its best rival."""
    addends = (explanation.support_weights * explanation.similarities).nan_to_num().abs()
    classes = [int(explanation.target), *rivals(explanation)[:1]]
    return [(label, int(addends[label].argmax())) for label in classes]


def standing_pair(
    explanation: Explanation, shown: Sequence[tuple[int, int, str]], query: str = "the query"
) -> dict[str, Any] | None:
    """Return what the script draws: photographs, cells and pairs; ``shown`` are class, shot and title of the supports.

    None where there is nothing to point at: photographs that are not there, tables that are too large for a page, or a
    method whose pairs of cells do not add up.
    """
    if explanation.support_images is None or not explanation.signed or explanation.query.steps is not None:
        return None
    if compares_means(explanation):
        return None
    try:
        supports = [_support(explanation, *one) for one in shown]
    except Mistake:  # maps that no pairs can be made of
        return None
    if any(one is None for one in supports):
        return None
    image = picture(explanation.image.float().movedim(0, -1), query, WIDTH).source
    side = {"title": query, "picture": image, "cells": array(explanation.cells)}
    return {"query": side, "supports": supports, "signed": explanation.signed}


def _support(explanation: Explanation, label: int, shot: int, title: str) -> dict[str, Any] | None:
    found = correspondence(explanation, label=label, shot=shots(explanation, label).index(shot))
    cells = explanation.support_cells[label, shot]
    if found.table.numel() > MOST_ENTRIES or bool(torch.isnan(cells).any()) or explanation.support_images is None:
        return None
    photograph = picture(explanation.support_images[label, shot].float().movedim(0, -1), title, WIDTH)
    pairs = {"grid": list(found.shape), "support_grid": list(found.support_shape), "table": array(found.table)}
    return {"title": title, "picture": photograph.source, "cells": array(cells), "pairs": pairs}


def as_script(said: dict[str, Any]) -> str:
    """Return it as JSON that may stand inside a page, whatever the names in it are."""
    return json.dumps(said).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def module() -> str:
    """Return the script of the view, to be drawn by ``standing(element, said)``."""
    return "\n".join((PARTS / name).read_text(encoding="utf-8") for name in ("pair_view.js", "standing_pair.js"))


@cache
def style() -> str:
    """Return the style of the view."""
    return (PARTS / "pair_view.css").read_text(encoding="utf-8")


def page_script() -> str:
    """Return the script of a page, which draws every view on it."""
    return f"\n{module()}{START}"


def script_hash() -> str:
    """Return how a page allows this script and no other."""
    digest = hashlib.sha256(page_script().encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
