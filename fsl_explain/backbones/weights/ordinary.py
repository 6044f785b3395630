"""Checkpoints as ordinary trainings write them: below a key or a prefix, beside a classifier or a second network."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from episodes.errors import Mistake

DEPTH = 3  # of keys, one below the other, that hold a state dict
DEEPEST, TRIED = 6, 64  # parts of a prefix, and prefixes, the most common first
OF_THE_TRAINING = re.compile(r"optim|sched|scaler|amp|loss_state|rng|callbacks|loops|hyper|args|config", re.IGNORECASE)
HEADS = re.compile(
    r"(fc|cls|classifier|head|heads|logits?|linear|last_linear|output|margin|arcface|proj|projector|projection"
    r"(_head)?|predictor|prototypes|embedder|aux\w*|Aux\w*)\d*"
)
COUNTER = "num_batches_tracked"
States = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Choice:
    """The tensors of one network in a file, under the names without its prefix."""

    where: str  # the keys and the prefix, joined by dots
    prefix: str
    state: Mapping[str, Tensor]
    sources: Mapping[str, str]  # name without the prefix → the file's
    outside: tuple[str, ...]  # names of the file that are not below the prefix

    @property
    def words(self) -> str:
        """Say what was taken, for people; empty for a file that is the state dict itself."""
        return f"its {self.where.rstrip('.')!r}" if self.where else ""


def parts_of(content: object) -> States:
    """Return every state dict of a file by the keys above it, joined by dots; "" is the file itself."""
    return dict(_parts(content, "", DEPTH))


def _parts(content: object, where: str, depth: int) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    if not isinstance(content, Mapping):
        return
    items = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors = {name: value for name, value in items.items() if isinstance(value, Tensor)}
    if tensors:
        yield where, tensors
    for name, value in items.items():
        if depth and isinstance(value, Mapping) and not OF_THE_TRAINING.search(name):
            yield from _parts(value, f"{where}.{name}" if where else name, depth - 1)


def chosen(
    parts: States, expected: Mapping[str, Tensor], needed: Collection[str], path: object, part: str | None = None
) -> Choice:
    """Return the one network of a file that has all ``needed`` tensors in their shapes, or else the nearest to it.

    Every prefix that ends in a dot is tried below every key. ``part`` names keys and prefix where several fit.

    Raises: ``ValueError`` where several fit and are not equal, or none is called ``part``, with their names.
    """
    choices = [one for where, state in parts.items() for one in _choices(where, state)]
    if not choices:
        raise Mistake(f"expected weights in {path}, but it holds none; check the file.")
    wanted = [name for name in needed if not name.endswith(COUNTER)]
    whole = [one for one in choices if all(_fits(one, name, expected) for name in wanted)]
    if part is not None:
        named = [one for one in whole if one.where.rstrip(".") == part.rstrip(".")]
        if not named:
            known = ", ".join(repr(one.where.rstrip(".")) for one in whole) or "none"
            raise Mistake(f"expected a part of {path} that fits, {known}, but got {part!r}; choose one of them.")
        return named[0]
    if not whole:
        return max(choices, key=lambda one: (sum(_fits(one, name, expected) for name in wanted), not one.where))
    first, *others = whole
    different = [one for one in others if not all(torch.equal(first.state[name], one.state[name]) for name in wanted)]
    if different:
        names = ", ".join(repr(one.where.rstrip(".") or "the file itself") for one in (first, *different))
        raise Mistake(
            f"expected the weights of one network in {path}, but {names} fit and differ; say which with "
            f"part={different[0].where.rstrip('.')!r}, or --part of fsl-explain convert."
        )
    return first


def _choices(where: str, state: Mapping[str, Tensor]) -> Iterator[Choice]:
    stems = (name.split(".")[:-1][:DEEPEST] for name in state)
    counted = Counter(".".join(stem[:end]) + "." for stem in stems for end in range(1, len(stem) + 1))
    for prefix in ("", *(prefix for prefix, _ in counted.most_common(TRIED))):
        below = {name.removeprefix(prefix): name for name in state if name.startswith(prefix)}
        outside = tuple(name for name in state if not name.startswith(prefix))
        place = ".".join(filter(None, (where, prefix)))
        yield Choice(place, prefix, {name: state[below[name]] for name in below}, below, outside)


def _fits(choice: Choice, name: str, expected: Mapping[str, Tensor]) -> bool:
    return name in choice.state and choice.state[name].shape == expected[name].shape


def is_behind(name: str, state: Mapping[str, Tensor], expected: Collection[str], needed: Collection[str]) -> bool:
    """Whether a tensor is of what stands behind the explained layer, such as a classifier, and is not used.

    That is one of the network's that is not needed, or one of a part whose name is that of a head, that the network
    does not have, and that holds a matrix.
    """
    if name in expected:
        return name not in needed
    first = name.split(".", maxsplit=1)[0]
    of_the_network = {other.split(".")[0] for other in needed}
    if first in of_the_network:
        return False
    beside = [tensor for other, tensor in state.items() if other.split(".")[0] == first]
    known = first in {other.split(".")[0] for other in expected} or HEADS.fullmatch(first) is not None
    return known and any(tensor.dim() in (2, 4) for tensor in beside)
