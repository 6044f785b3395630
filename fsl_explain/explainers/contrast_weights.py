"""Which combination of class scores a user asks about: one class, or one class rather than others."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake, UnknownName
from episodes.naming import unknown_name
from episodes.position import position

ClassReference = int | str
Against = ClassReference | Sequence[ClassReference] | Int[Tensor, "*rival"] | Literal["others"] | None


def class_index(reference: ClassReference, classes: Sequence[str]) -> int:
    """Return the index of a class given by name or index.

    Raises: ``LookupError`` for a name or an index that is not there; ``TypeError`` for neither.
    """
    if isinstance(reference, str):
        if reference not in classes:
            raise unknown_name("class", reference, classes)
        return list(classes).index(reference)
    index = position(reference, "a class by name or index")
    if not 0 <= index < len(classes):
        raise UnknownName(f"expected a class index from 0 to {len(classes) - 1}, but got {index}.")
    return index


def runner_up(scores: Float[Tensor, "*batch way"], target: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch way"]:
    """Give the best-scoring class other than the target the weight 1; the lowest index wins a tie."""
    rivals = scores.scatter(-1, target[..., None], -torch.inf)
    return torch.nn.functional.one_hot(rivals.argmax(dim=-1), scores.shape[-1]).to(scores.dtype)


def rival_weights(
    scores: Float[Tensor, "*batch way"], target: Int[Tensor, "*batch"], against: Against, classes: Sequence[str]
) -> Float[Tensor, "*batch way"]:
    """Return each rival's share of the contrast; the shares of a query sum to 1.

    Raises: ``ValueError`` when a query's target is among its rivals, or there is no rival.
    """
    if len(classes) < 2:
        raise Mistake("a contrast needs at least two classes, but the supports hold one; use method='exact'.")
    if against is None:
        return runner_up(scores, target)
    if isinstance(against, str) and against == "others":
        rivals = torch.ones_like(scores).scatter(-1, target[..., None], 0)
        return rivals / rivals.sum(dim=-1, keepdim=True)
    against = against.tolist() if isinstance(against, Tensor) else against
    chosen = list(against) if isinstance(against, Iterable) and not isinstance(against, str) else [against]
    if not chosen:
        raise Mistake("expected at least one class to contrast with, but got an empty list; use against=None.")
    indices = sorted({class_index(reference, classes) for reference in chosen})
    for index in indices:
        if (target == index).any():
            raise Mistake(
                f"a class cannot be contrasted with itself, but {classes[index]} is both the target and in against."
            )
    rivals = torch.zeros_like(scores)
    rivals[..., indices] = 1 / len(indices)
    return rivals
