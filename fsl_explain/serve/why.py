"""An explanation as the page draws it: both sides' cells, who met whom, the receipt, and the largest channels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from episodes.errors import Mistake
from fsl_explain.explainers.analysis.correspondence import compares_means, correspondence
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.receipt import REST, Receipt
from fsl_explain.pictures.picture import color_meanings, shots
from fsl_explain.report.numbers_sent import array, finite
from fsl_explain.report.receipt import adds_up, splits_the_score
from fsl_explain.report.wording import description

SHOWN_CHANNELS = 8
MOST_PAIRS = 4  # supports whose pairs of cells are sent; a page draws one at a time
Examples = Callable[[Sequence[int]], list[list[dict[str, Any]]]]


@dataclass(frozen=True)
class Shown:
    """What the page calls one image of a decision, and where its picture is."""

    title: str
    picture: str | None  # address
    facts: Mapping[str, Any] = field(default_factory=dict)  # id, image or the like, sent as it is


def why(
    explanation: Explanation,
    query: Shown,
    supports: Mapping[tuple[int, int], Shown],
    *,
    call: str,
    title: str,
    notes: Sequence[str] = (),
    examples: Examples | None = None,
    about_channels: str = "",
) -> dict[str, Any]:
    """Return all that the page shows of one explanation; ``supports`` are those to show, by (class, shot).

    ``examples`` gives the images that excite each of some channels most, where that is known; ``about_channels`` says
    what they are, or why there are none.
    """
    target = explanation.decision.classes[int(explanation.target)]
    low, high = color_meanings(explanation)
    return {
        "title": title,
        "sentence": description(explanation),
        "method": explanation.method,
        "signed": explanation.signed,
        "adds_up": splits_the_score(explanation) and adds_up(explanation),
        "score": finite(float(explanation.exact_score)),
        "target": target,
        "against": None if explanation.against is None else _rivals(explanation),
        "color_meanings": [low, high],
        "query": {
            "title": query.title,
            "picture": query.picture,
            "cells": array(explanation.cells),
            "bias": finite(float(explanation.bias)),
        },
        "supports": _supports(explanation, supports),
        "receipt": _receipt(explanation.receipt()) if _has_lines(explanation) else None,
        "channels": _channels(explanation, examples, about_channels),
        "notes": list(notes),
        "call": call,
    }


def _rivals(explanation: Explanation) -> str:
    assert explanation.against is not None
    names = [explanation.decision.classes[place] for place in explanation.against.nonzero()[:, 0].tolist()]
    return names[0] if len(names) == 1 else f"the mean of {len(names)} others"


def _has_lines(explanation: Explanation) -> bool:
    return not bool(explanation.support_weights.isnan().all())


def _supports(explanation: Explanation, shown: Mapping[tuple[int, int], Shown]) -> list[dict[str, Any]]:
    paired = _paired(explanation, shown)
    return [
        {
            "title": one.title,
            "picture": one.picture,
            **one.facts,
            "cells": _cells_of(explanation, label, shot),
            "weight": finite(float(explanation.support_weights[label, shot])),
            "similarity": finite(float(explanation.similarities[label, shot])),
            "amount": finite(float(explanation.support_weights[label, shot] * explanation.similarities[label, shot])),
            "side": "against" if float(explanation.support_weights[label, shot]) < 0 else "for",
            "pairs": _pairs(explanation, label, shot) if (label, shot) in paired else None,
        }
        for (label, shot), one in shown.items()
    ]


def _paired(explanation: Explanation, shown: Mapping[tuple[int, int], Shown]) -> list[tuple[int, int]]:
    """Return the supports with the largest addends, whose pairs of cells are worth sending."""
    if not explanation.signed or explanation.query.steps is not None or compares_means(explanation):
        return []
    addends = (explanation.support_weights * explanation.similarities).nan_to_num().abs()
    return sorted(shown, key=lambda at: -float(addends[at]))[:MOST_PAIRS]


def _pairs(explanation: Explanation, label: int, shot: int) -> dict[str, Any] | None:
    with_maps = shots(explanation, label)
    if shot not in with_maps:  # a text
        return None
    try:
        found = correspondence(explanation, label=label, shot=with_maps.index(shot))
    except Mistake:  # maps that were not kept, or that no pairs can be made of, are not drawn as pairs
        return None
    return {"grid": list(found.shape), "support_grid": list(found.support_shape), "table": array(found.table)}


def _cells_of(explanation: Explanation, label: int, shot: int) -> dict[str, Any] | None:
    cells = explanation.support_cells[label, shot]
    return None if bool(torch.isnan(cells).all()) else array(cells)


def _receipt(found: Receipt) -> dict[str, Any]:
    named = {**found.named, REST: found.bias - sum(found.named.values())} if found.named else {}
    return {
        "lines": [
            {
                "name": f"{line.class_name}, support {line.shot + 1}",
                "class": line.class_name,
                "shot": line.shot,
                "weight": line.weight,
                "similarity": line.similarity,
                "amount": line.amount,
                "in_cells": line.in_cells,
                "bias": line.bias,
            }
            for line in found.largest_first()
        ],
        "constants": _named(found.constants),
        "named": _named(named),
        "bias": found.bias,
        "score": found.score,
        "total": found.total,
        "residual": found.residual,
        "absolute_sum": found.absolute_sum,
        "share_of_cells": found.share_of_cells,
        "text": str(found),
    }


def _named(values: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _channels(explanation: Explanation, examples: Examples | None, words: str) -> dict[str, Any] | None:
    if not splits_the_score(explanation):
        return None
    contributions = explanation.contributions
    largest = contributions.abs().sort(descending=True, stable=True).indices[:SHOWN_CHANNELS].tolist()
    images = [[] for _ in largest] if examples is None else examples(largest)
    return {
        "words": words,
        "top": [
            {"channel": channel, "amount": float(contributions[channel]), "images": shown}
            for channel, shown in zip(largest, images, strict=True)
        ],
        "rest": float(contributions.sum() - contributions[largest].sum()),
        "channels": len(contributions),
    }
