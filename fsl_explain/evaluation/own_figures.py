"""Metrics of the user's own, named in settings ``module:function`` or ``path/to/file.py:function``: their code runs."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from episodes.errors import Mistake
from fsl_explain.evaluation.figures import FIGURES, NEEDS, Figure
from fsl_explain.own_code import as_function, failed, found_object, importing_for
from fsl_explain.registries import is_own_code

A_METRIC = "a metric"


def chosen_figures(names: Iterable[str], usual: Iterable[str] = ()) -> tuple[str | Figure, ...]:
    """Return the usual figures, then those named: registered ones by name, the user's own as they are found.

    What a name of the user's own stands for is a ``Figure``, or a function whose parameters have names of ``NEEDS``,
    such as ``saliency`` and ``mask``, and that returns one number for each map; it is shown under its name.

    Raises: ``LookupError`` for an unknown name or parameter; ``FileNotFoundError``, ``TypeError`` or ``ValueError`` as
    ``found_function``, and for a function with the name of a figure that there is.
    """
    return (*usual, *(_own(name) if is_own_code(name) else FIGURES.checked(name) for name in names))


def _own(name: str) -> Figure:
    with importing_for(name):
        found = found_object(name, A_METRIC)
        figure = found if isinstance(found, Figure) else _of_function(name, as_function(found, name))
    if figure.name in FIGURES and FIGURES[figure.name] is not figure:
        raise Mistake(f"expected a name for {name} that no metric has, but {figure.name} is one; rename the function.")
    return figure


def _of_function(name: str, function: Callable[..., Any]) -> Figure:
    parameters = inspect.signature(function).parameters.values()
    needs = tuple(one.name for one in parameters if one.default is one.empty)
    unknown = [need for need in needs if need not in NEEDS]
    if unknown or not needs:
        got = ", ".join(needs) or "none"
        raise Mistake(f"expected the parameters of {name} to be of {', '.join(NEEDS)}, but got {got}; rename them.")
    title = name.rpartition(":")[2]
    return Figure(title, title, OwnMetric(name, function), needs, factor=1.0, higher_is_better=None)


@dataclass(frozen=True)
class OwnMetric:
    """A function of the user's, whose failure is a mistake that names it; it can be sent to workers."""

    name: str
    __wrapped__: Callable[..., Any]  # what the metric is, wherever its file lies

    def __call__(self, *values: Any) -> Any:
        """Call it."""
        try:
            return self.__wrapped__(*values)
        except Mistake:
            raise
        except Exception as error:  # the user's code may fail in any way
            raise failed(self.name, A_METRIC, error) from error
