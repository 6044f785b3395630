"""Why a neighbor is where a rule over cells has put it, and why before another one."""

from collections.abc import Callable
from pathlib import Path

import PIL.Image

from episodes import read_image
from episodes.errors import Mistake, UnknownName
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from retrieval_explain.decisions.explained_neighbors import image_name
from retrieval_explain.local.reranking import Reranked

AGREEMENT = 1e-3  # of two scores of one image, by kept local features and by those of its file


class ChangedImage(Mistake):
    """An image that is not the one any more by which a neighbor was ranked."""


def explain_reranked(
    found: Reranked,
    *,
    target: int = 0,
    against: int | None = None,
    read: Callable[[str], PIL.Image.Image] = read_image,
) -> Explanation:
    """Explain the score of a neighbor, or with ``against`` its lead over another, by the rule that ranked them.

    ``target`` and ``against`` are places in the new order, from 0. The cells of the query, and those of the neighbors,
    add up to the score; ``fsl_explain.correspondence`` has the pairs. The images of one or two neighbors are read
    again, ``read`` gives the photograph of a path.

    Raises: ``LookupError`` for a place that is not there; ``ValueError`` for twice the same, or an image that has
    changed so that its score is not the one by which it was ranked; ``FileNotFoundError`` where it is gone.
    """
    places = [target] if against is None else [target, against]
    for place in places:
        if not 0 <= place < len(found.indices):
            raise UnknownName(f"expected a place from 0 to {len(found.indices) - 1}, but got {place}.")
    if target == against:
        raise Mistake(f"expected two neighbors to compare, but both places are {target}.")
    retrieved, bank = found.retrieved, found.retrieved.bank
    rows = [int(found.indices[place]) for place in places]
    images = retrieved.encoder.preprocess([read(bank.paths[row]) for row in rows])
    names = [image_name(bank, row, place + 1) for row, place in zip(rows, places, strict=True)]
    supports = dict(zip(names, images[:, None], strict=True))
    try:
        compared = compare(retrieved.encoder, retrieved.image, supports, bank.similarity, warn_of_own=False)
    except Mistake as error:  # every image could be compared when the bank embedded it
        raise ChangedImage(f"an image has changed since the bank embedded it: {error}") from error
    choice = Choice(found.rule, bank.similarity, 0, None if against is None else 1)
    explanation = explain_compared(compared, "exact" if against is None else "contrast", choice)[0]
    for row, place, score in zip(rows, places, explanation.decision.scores.tolist(), strict=True):
        ranked_by = float(found.scores[place])
        if not abs(score - ranked_by) <= AGREEMENT * max(1.0, abs(ranked_by)):
            raise ChangedImage(
                f"{Path(bank.paths[row]).name} has changed: it scores {score:.6g} now, and stands at #{place + 1} by "
                f"the {ranked_by:.6g} of the image that the bank embedded; embed it again with build --append and make "
                "its local features again."
            )
    return explanation
