"""The methods that an evaluation measures: those asked for, beside baselines without which no figure says much."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from episodes.errors import Mistake, WrongType
from fsl_explain.classifiers import RULES, Rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import METHODS, find_method, name_of
from fsl_explain.explainers.question import expect_values_of_maps
from fsl_explain.heads import Pooling

BASELINES = ("grad-cam", "lafam", "centered-gaussian", "random-blurred", "all-ones")


class ChosenMethods(Mapping[str, Method]):
    """Methods by name. Registered ones are pickled by their names, because their functions may be closures."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = dict(methods)

    def __getitem__(self, name: str) -> Method:
        return self._methods[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)

    @property
    def in_tables(self) -> "ChosenMethods":
        """The same methods in the forms that papers measure."""
        return ChosenMethods({name: method.in_tables for name, method in self.items()})

    def __reduce__(self) -> tuple[Any, ...]:
        return _found_again, ({name: _place(method) for name, method in self.items()},)


def named_methods(methods: Iterable[str | Method]) -> ChosenMethods:
    """Return methods by name.

    Raises: ``LookupError`` with the nearest names; ``ValueError`` for a method of the user's own without a name;
    ``TypeError`` for no list of methods.
    """
    if isinstance(methods, str):
        raise WrongType(f"expected a list of methods, but got {methods!r}; write [{methods!r}].")
    found: dict[str, Method] = {}
    for method in methods:
        if not isinstance(method, str | Method):
            raise WrongType(f"expected methods by name or as Method(...), but got {type(method).__name__}.")
        name = name_of(method)
        if not name:
            raise Mistake("a method of your own needs a name in the tables; give it one with Method(..., name=...).")
        found[name] = find_method(method)
    return ChosenMethods(found)


def with_baselines(methods: Iterable[str | Method]) -> ChosenMethods:
    """Return the methods asked for, then the baselines, in the forms that papers measure.

    Raises: as ``named_methods``.
    """
    if isinstance(methods, str):
        return named_methods(methods)
    return named_methods((*methods, *BASELINES)).in_tables


def expect_fitting(methods: Mapping[str, Method], encoder: Encoder, rule: str | Rule = "mean-similarity") -> None:
    """Refuse methods that have no answer for what a rule compares, before any work.

    ``encoder`` is the one given, or that of local features where the rule compares these. Raises: ``ValueError``.
    """
    chosen = RULES.find(rule)
    seen = encoder_for(chosen, encoder)
    expect_pooled_values(methods, chosen, seen.pooling)
    for method in methods.values():
        method.expects(seen)


def expect_pooled_values(methods: Mapping[str, Method], rule: Rule, pooling: Pooling) -> None:
    """Refuse methods that weigh maps by pooled values, where a decision compares others. Raises: ``ValueError``."""
    for name, method in methods.items():
        if method.of_one_value_a_map:
            expect_values_of_maps(rule, pooling, name)


def _place(method: Method) -> tuple[str, bool] | Method:
    """Return the name of a registered method, and whether it is the form of the tables; or the method itself."""
    for name, known in METHODS.items():
        if method is known or method is known.in_tables:
            return name, method is not known
    return method


def _found_again(places: Mapping[str, tuple[str, bool] | Method]) -> ChosenMethods:
    found = {}
    for name, place in places.items():
        if isinstance(place, Method):
            found[name] = place
        else:
            known, tabled = place
            found[name] = METHODS[known].in_tables if tabled else METHODS[known]
    return ChosenMethods(found)
