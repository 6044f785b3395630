"""Under test each call of the library is checked: arguments, results, and axes of one name against each other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import checked_calls
import jaxtyping
import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from fsl_explain.similarities import cosine
from retrieval_explain.ranking.neighbors import Neighbors

checked = checked_calls.checked(typechecker=beartype)


@checked
def scaled(
    maps: Float[Tensor, "channel cell"], gains: Float[Tensor, "channel"], wide: bool = False
) -> Float[Tensor, "channel cell"]:
    return torch.cat([maps, maps]) if wide else maps * gains[:, None]


@checked
def counted(names: "list[str]", more: "NotImported" = None) -> int:
    return str(len(names)) if "wrong" in names else len(names)


@checked
def applied(fn: Callable[[Float[Tensor, "channel"]], Tensor], values: Tensor) -> Tensor:
    return fn(values)


@checked
def rows(maps: Float[Tensor, "row channel"]) -> Iterator[Float[Tensor, "channel"]]:
    yield from maps


@checked
@dataclass(frozen=True)
class Pair:
    query: Float[Tensor, "channel"]
    support: Float[Tensor, "channel"]

    @classmethod
    @checked
    def twice(cls, query: Float[Tensor, "channel"]) -> "Pair":
        return cls(query, query)

    @staticmethod
    @checked
    def channels(query: Float[Tensor, "channel"]) -> int:
        return len(query)

    @property
    @checked
    def score(self) -> Float[Tensor, ""]:
        return self.query * self.support


MAPS, TWO = torch.ones(2, 3), torch.ones(2)
BROKEN = {
    "one axis, two sizes": lambda: scaled(MAPS, torch.ones(3)),
    "an axis of the result": lambda: scaled(MAPS, TWO, wide=True),
    "another type of number": lambda: scaled(MAPS.long(), TWO),
    "another number of axes": lambda: scaled(MAPS, gains=MAPS),
    "no bool": lambda: scaled(MAPS, TWO, wide="yes"),
    "no list, in quotes": lambda: counted("names"),
    "a result of another type": lambda: counted(["wrong"]),
    "a generator's argument": lambda: rows(TWO),
    "a field": lambda: Pair(TWO, [1.0, 1.0]),
    "two fields": lambda: Pair(TWO, torch.ones(3)),
    "a class method": lambda: Pair.twice(MAPS),
    "a static method": lambda: Pair.channels(MAPS),
    "a property": lambda: Pair(TWO, TWO).score,
    "a function of the library": lambda: cosine.pairwise(MAPS, torch.ones(2, 4)),
    "a value of the library": lambda: Neighbors(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4)),
}


@pytest.mark.parametrize("call", BROKEN.values(), ids=BROKEN)
def test_a_call_that_breaks_its_annotations_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_a_call_that_keeps_them_passes():
    assert torch.equal(scaled(MAPS, TWO), MAPS)
    assert (counted(["a", "b"]), counted(["a"], more=1)) == (2, 1)
    assert len([*rows(MAPS)]) == 2
    assert Pair.channels(Pair.twice(TWO).support) == 2


def test_each_call_has_axes_of_its_own():
    """Also a call inside of another: two channels outside, three inside."""
    assert len(applied(lambda values: scaled(torch.ones(3, 2), torch.ones(3)), TWO)) == 3
    assert torch.equal(scaled(torch.ones(4, 2), torch.ones(4)), torch.ones(4, 2))


def test_annotations_and_names_are_those_of_the_function():
    assert counted.__annotations__["names"] == "list[str]"
    assert (scaled.__name__, scaled.__module__) == ("scaled", __name__)


def test_checks_can_be_switched_off_for_a_test_that_hands_in_something_else(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert counted("names") == 5
    assert scaled(MAPS, torch.ones(2, dtype=torch.float64), wide=True).shape == (4, 3)


def test_errors_of_a_call_are_its_own():
    with pytest.raises(IndexError):
        applied(lambda values: values[7], TWO)
    with pytest.raises(TypeError, match="missing"):
        scaled(MAPS)
