"""Why one image came back, or why it rather than another: both sides, and the channels that carried it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import torch

from episodes.errors import Mistake, UnknownName
from fsl_explain.classifiers import NearestNeighbor
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import Compared
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.explainers.support_groups import gathered
from fsl_explain.serve.box_text import box_as_text
from fsl_explain.serve.offered import offered_details, offered_methods
from fsl_explain.serve.why import Examples, Shown, why
from retrieval_explain.decisions.explained_neighbors import Retrieved
from retrieval_explain.decisions.text_queries import explain_images
from retrieval_explain.inspection.inspected import AGREEMENT
from retrieval_explain.ranking.neighbors import blocks, similarities_to
from retrieval_explain.serve.calls import why_call
from retrieval_explain.serve.queries import Asked, Queries
from retrieval_explain.serve.served_bank import ServedBank

EXAMPLES = 4


@dataclass(frozen=True)
class Wanted:
    """What is to be explained, and how it is drawn."""

    target: int  # id of the image that came back
    against: int | None
    method: str = "exact"
    detail: int = 0
    biases: str = "drawn"


def check_wanted(served: ServedBank, wanted: Wanted) -> None:
    """Refuse methods and details that the page does not offer for this bank. Raises: ``LookupError``."""
    check_method(served.encoder, served, wanted.method)
    if wanted.detail not in offered_details(served.encoder):
        offered = ", ".join(map(str, offered_details(served.encoder)))
        raise UnknownName(f"expected a detail among {offered} for this encoder, but got {wanted.detail}.")
    if wanted.biases not in ("drawn", "apart"):
        raise UnknownName(f"expected biases drawn or apart, but got {wanted.biases!r:.40}.")
    if wanted.against == wanted.target:
        raise Mistake("expected two images to compare, but got the same one twice; choose another.")


def check_method(encoder: Encoder, served: ServedBank, method: str) -> None:
    """Refuse a method that does not fit. Raises: ``LookupError`` with those that do."""
    METHODS.checked(method)
    fitting = offered_methods(encoder, served.bank.compared_by)
    if method not in fitting:
        raise UnknownName(f"{method} does not fit this bank; choose among {', '.join(fitting)}.")


def why_answer(served: ServedBank, queries: Queries, search: Asked, wanted: Wanted) -> dict[str, Any]:
    """Explain one image that came back, as the page draws it."""
    explanation, rows, notes = explained(served, queries, search, wanted)
    return shown(served, search, explanation, rows, wanted, notes)


def explained(
    served: ServedBank, queries: Queries, search: Asked, wanted: Wanted
) -> tuple[Explanation, list[int], list[str]]:
    """Return the explanation, the rows that stand as its supports, and what may mislead."""
    check_wanted(served, wanted)
    rows = [served.row_of(wanted.target)]
    if search.text is not None:
        photograph = served.photograph(rows[0])
        against = [] if wanted.method != "contrast" else _other_text()
        retrieved = queries.by_text(served, search)
        return explain_images(retrieved, [photograph], method=wanted.method, against=against)[0], rows, []
    found = queries.retrieved(served, search, wanted.detail, wanted.biases)
    rival = wanted.against
    if METHODS[wanted.method].has_rivals and rival is None:
        rival = _best_other(served, found, rows[0])
    if rival is not None:
        rows.append(served.row_of(rival))
    compared = beside(found, served, rows)
    choice = Choice(NearestNeighbor(), served.bank.similarity, 0, 1 if len(rows) > 1 else None)
    choice = choice.meant_for(METHODS[wanted.method].explains)
    explanation = explain_compared(compared, wanted.method, choice)[0]
    return explanation, rows, _agreement(served, found, explanation, rows)


def _other_text() -> list[str]:
    raise Mistake("a contrast compares two images, but a text is searched for; choose exact.")


def _best_other(served: ServedBank, found: Retrieved, row: int) -> int:
    others = [other for other in found.neighbors.indices.tolist() if other != row]
    if not others:
        raise Mistake("a contrast needs a second image, but only one came back; raise k.")
    return int(served.bank.ids[others[0]])


def beside(found: Retrieved, served: ServedBank, rows: Sequence[int]) -> Compared:
    """Set the query, embedded already, beside images of the bank, which are read and embedded again."""
    images = found.encoder.preprocess([served.photograph(row) for row in rows])
    names = _names(served, rows)
    supports = {name: image[None] for name, image in zip(names, images, strict=True)}
    gathered_set, kept = gathered(found.encoder, supports, found.features.embedding.shape[-1])
    return Compared(found.encoder, found.image[None], found.features[None], gathered_set, kept)


def _names(served: ServedBank, rows: Sequence[int]) -> list[str]:
    names = []
    for row in rows:
        name = served.path_of(row).replace("\\", "/").rsplit("/", 1)[-1] or f"image {int(served.bank.ids[row])}"
        names.append(name if name not in names else f"{name} (id {int(served.bank.ids[row])})")
    return names


def _agreement(served: ServedBank, found: Retrieved, explanation: Explanation, rows: Sequence[int]) -> list[str]:
    """Say where an image, embedded again, is not what the bank has stored."""
    query = found.features.embedding.cpu()[None]
    stored = similarities_to(query, served.bank.rows, torch.tensor([list(rows)]), served.bank.similarity)[0]
    now = explanation.similarities[:, 0]
    notes = []
    for row, before, after in zip(rows, stored.tolist(), now.tolist(), strict=True):
        if abs(before - after) > AGREEMENT * max(1.0, abs(before)):
            notes.append(
                f"{served.path_of(row)} has a similarity of {after:.4f} now, but {before:.4f} in the bank: its file "
                "has changed since, or another encoder made the bank. The maps are of the image as it is now."
            )
    return notes


def shown(
    served: ServedBank,
    search: Asked,
    explanation: Explanation,
    rows: Sequence[int],
    wanted: Wanted,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Lay an explanation out for the page."""
    label = served.path_of(rows[0]) or f"image {wanted.target}"
    rather = "" if len(rows) < 2 else f" rather than {served.path_of(rows[1]) or f'id {int(served.bank.ids[rows[1]])}'}"
    detail = f'{wanted.detail}, "{wanted.biases}"' if wanted.detail else ""
    call = why_call(
        served, search, wanted.target, None if len(rows) < 2 else int(served.bank.ids[rows[1]]), wanted.method, detail
    )
    title = f"Why {label}{rather}?"
    picture = seen_address(served, search)
    examples, words = channel_examples(served, explanation)
    if search.text is not None:
        return _of_a_text(served, search, explanation, rows, call, title)
    return why(
        explanation,
        Shown("the query", picture),
        {(place, 0): _support(served, row) for place, row in enumerate(rows)},
        call=call,
        title=title,
        notes=notes,
        examples=examples,
        about_channels=words,
    )


def _of_a_text(
    served: ServedBank, search: Asked, explanation: Explanation, rows: Sequence[int], call: str, title: str
) -> dict[str, Any]:
    """A text has no regions: the image is the explained one, and stands on the other side."""
    found = why(explanation, Shown("", None), {}, call=call, title=title)
    image = _support(served, rows[0])
    side = {"title": image.title, "picture": image.picture, **image.facts, "cells": found["query"]["cells"]}
    numbers = {"weight": 1.0, "similarity": found["score"], "amount": found["score"], "side": "for", "pairs": None}
    query = {"title": f"“{search.text}”", "picture": None, "cells": None, "bias": found["query"]["bias"]}
    return {**found, "query": query, "supports": [{**side, **numbers}]}


def _support(served: ServedBank, row: int) -> Shown:
    number = int(served.bank.ids[row])
    return Shown(
        title=served.path_of(row) or f"image {number}",
        picture=f"/api/banks/{served.number}/images/{number}/seen",
        facts={"id": number, "label": served.label_of(row)},
    )


def seen_address(served: ServedBank, search: Asked) -> str | None:
    """Return where the query is shown as the network sees it; None for a text."""
    if search.text is not None:
        return None
    return f"/api/banks/{served.number}/seen?{urlencode({'query': search.query, **box_as_text(search.box)})}"


def channel_examples(served: ServedBank, explanation: Explanation) -> tuple[Examples | None, str]:
    """Return how to find the images of the bank that excite a channel most, or a sentence why it is not known.

    The bank stores embeddings. Where they are the pooled maps themselves, its rows say it for every image.
    """
    channels = served.bank.rows.shape[1]
    if len(explanation.contributions) != channels or not _embeds_the_maps(served.encoder):
        return None, "The bank stores embeddings behind a head, so its images are not ranked by channels of the maps."

    def examples(channels: Sequence[int]) -> list[list[dict[str, Any]]]:
        found = _most_excited(served, channels)
        return [
            [{**served.brief(row), "value": value} for value, row in zip(values, rows, strict=True)]
            for values, rows in zip(found.values.T.tolist(), found.indices.T.tolist(), strict=True)
        ]

    return examples, "Beside each channel stand the images of the bank that excite it most."


def _embeds_the_maps(encoder: Encoder) -> bool:
    return encoder.tokens is None and encoder.scales is None and isinstance(encoder.head, torch.nn.Identity)


def _most_excited(served: ServedBank, channels: Sequence[int]) -> torch.return_types.topk:
    """Return the largest values of each channel and their rows, (example, channel), from one pass over the bank."""
    columns = torch.cat([block[:, list(channels)] for _, block in blocks(served.bank.rows)])
    return columns.topk(min(EXAMPLES, len(columns)), dim=0)
