"""What masking a query by its own map does to its score.

A score is the similarity of a query to the supports that the explanation is about; the masked score is the similarity
of the masked query to the same supports. All figures but the normalized drop are in percent. A map of all ones masks
nothing and gets the best average drop there is, 0, which is why these figures stand beside those of trivial maps.

Reference: FAM (Liao, Gao, Zhang, 2023), after Chattopadhay et al., "Grad-CAM++", 2018.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def average_drop(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, ""]:
    """Return how much of its score a query loses on average when masked, in percent (FAM Eq. 21). Smaller is better.

    The mean of ``drops`` over the queries that have one; NaN when none has. DEVIATION: the paper divides by the score
    and does not say what happens where it is zero or negative; those queries are left out, and
    ``average_drop_excluded`` counts them.
    """
    return drops(scores, masked_scores).nanmean()


def drops(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, "query"]:
    """Return what each query loses of its score when masked, in percent of the score. Smaller is better.

    0 where the score rises; above 100 where the masked score is negative; NaN where the score is not above 0, or
    either is NaN.
    """
    lost = (scores - masked_scores).clamp(min=0) / scores * 100
    return torch.where(scores > 0, lost, torch.nan)


def average_drop_excluded(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"] | None = None) -> int:
    """Return how many queries ``average_drop`` leaves out: those with a score not above 0, or with a NaN."""
    compared = scores if masked_scores is None else masked_scores
    return int(drops(scores, compared).isnan().sum())


def increase_in_confidence(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, ""]:
    """Return the share of queries whose score rises when masked, in percent (FAM Eq. 22). Larger is better.

    Over all queries but those with a NaN score; NaN when there is none.
    """
    return increases(scores, masked_scores).nanmean()


def increases(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, "query"]:
    """Return 100 for each query whose score rises when masked and 0 for the others. Larger is better.

    An equal score is no rise. NaN where either score is NaN.
    """
    rises = (scores < masked_scores).to(scores.dtype) * 100
    return torch.where(scores.isnan() | masked_scores.isnan(), torch.nan, rises)


def average_gain(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, ""]:
    """Return how much of what it lacks to 1 a query gains on average when masked, in percent. Larger is better.

    The mean of ``gains`` over the queries that have one; NaN when none has. The counterpart of ``average_drop``, which
    counts how often increase in confidence is a rise by nothing (Zhang et al., "Opti-CAM", 2023).
    """
    return gains(scores, masked_scores).nanmean()


def gains(scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"]) -> Float[Tensor, "query"]:
    """Return what each query gains when masked, in percent of what its score lacks to 1. Larger is better.

    For scores with a largest value of 1, such as a cosine or a probability. In [0, 100]: 0 where the score falls. NaN
    where the score is 1 or more, or either is NaN.
    """
    gained = (masked_scores - scores).clamp(min=0) / (1 - scores) * 100
    return torch.where(scores < 1, gained, torch.nan)


def normalized_drop(
    scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"], blank_scores: Float[Tensor, "query"]
) -> Float[Tensor, ""]:
    """Return the mean of ``normalized_drops`` over the queries that have one; NaN when none has. Smaller is better."""
    return normalized_drops(scores, masked_scores, blank_scores).nanmean()


def normalized_drops(
    scores: Float[Tensor, "query"], masked_scores: Float[Tensor, "query"], blank_scores: Float[Tensor, "query"]
) -> Float[Tensor, "query"]:
    """Return what each query loses when masked, as a share of what it loses with every pixel removed.

    (score - masked score) / (score - blank score), which, unlike ``drops``, does not change when a constant is added to
    all scores: 0 where masking changes nothing, 1 where it does as much as removing the whole image, negative where
    the score rises. Smaller is better. NaN where the blank image scores as high as the query or higher, or any is NaN.
    """
    room = scores - blank_scores
    return torch.where(room > 0, (scores - masked_scores) / room, torch.nan)
