"""What can be measured of a map: one entry for each figure says how it is computed, from what, and how it is shown.

A figure of your own is a function of some of ``NEEDS``: pass ``Figure(...)`` to an evaluation, or register it once with
``FIGURES[figure.name] = figure`` and name it everywhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from episodes.errors import Mistake, WrongType
from episodes.registry import Registry

NEEDS = {
    "saliency": "the maps (batch, height, width)",
    "mask": "the annotated objects' pixels, True inside (batch, height, width)",
    "boxes": "the annotated objects' boxes (batch, 4)",
    "iou_threshold": "the share of a map's maximum above which a pixel counts",
    "images": "the preprocessed images (batch, 3, height, width)",
    "score": "the predicted class's score (batch,)",
    "masked_score": "its score for the images masked by their maps (batch,)",
    "other_saliency": "the maps of the same images under another class (batch, height, width)",
    "lead": "a function from images to their lead over the runner-up",
    "side": "images with their maps, and what removed pixels become",
    "steps": "the steps of a curve",
    "random_removals": "random sets of regions, removed, and what the lead lost by it",
    "single_removals": "regions, removed one at a time, and what the lead lost by it",
    "shapley_removals": "regions and the Shapley values of their removal",
}
"""What the function of a figure can ask for, by the name of the value."""
PER_QUERY = ("score", "masked_score")
ON_A_SAMPLE = ("lead", "side", "steps", "random_removals", "single_removals", "shapley_removals")
"""What asks the network again, several times an image."""


@dataclass(frozen=True)
class Figure:
    """How a figure of a map is computed, how it is shown, and which way it is better.

    ``compute`` takes the values that ``needs`` names, in that order, and returns one number for each map, a tensor
    (batch,); NaN where it is not defined. It is a function, or the text of its place, ``module:function``; None for
    what is no figure of a map, such as accuracy. ``needs`` are of ``NEEDS``.

    ``name`` is an identifier, such as peak_height, ``heading`` that of its column, with its unit. A value is multiplied
    by ``factor`` to be shown, 100 for percent, with so many ``decimals``. ``higher_is_better`` is None where neither
    side is better.

    Raises: ``ValueError`` for an unknown need, a name that cannot be a column, or decimals below 0.
    """

    name: str
    heading: str
    compute: Callable[..., Any] | str | None = None
    needs: tuple[str, ...] = ("saliency", "mask")
    factor: float = 100.0
    higher_is_better: bool | None = True
    decimals: int = 2

    def __post_init__(self) -> None:
        for need in self.needs:
            if need not in NEEDS:
                raise Mistake(
                    f"the figure {self.name!r} needs {need!r}, which no evaluation has; use {', '.join(NEEDS)}."
                )
        if not self.name.isidentifier():
            raise Mistake(f"expected a figure's name that can be a column, like peak_height, but got {self.name!r}.")
        if self.decimals < 0:
            raise Mistake(f"expected 0 or more decimals of the figure {self.name!r}, but got {self.decimals}.")

    @property
    def title(self) -> str:
        """The heading with an arrow that points to the better side, where there is one."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return self.heading + arrow

    @property
    def of_places(self) -> bool:
        """Whether it asks where the object is, which boxes or masks show."""
        return bool({"mask", "boxes"} & set(self.needs))

    @property
    def per_query(self) -> bool:
        """Whether it is made of scores, rather than of the map itself."""
        return bool(set(self.needs) & set(PER_QUERY))

    @property
    def on_a_sample(self) -> bool:
        """Whether it asks the network again, several times an image."""
        return bool(set(self.needs) & set(ON_A_SAMPLE))

    def of(self, values: Mapping[str, Any]) -> Any:
        """Compute it from values by the names of ``NEEDS``, of which it takes those that it needs.

        Raises: ``ValueError`` for what is no figure of a map, such as accuracy.
        """
        return self._function(*(values[need] for need in self.needs))

    def text(self, value: float, *, signed: bool = False) -> str:
        """Return a number as tables show it: multiplied by ``factor`` and rounded; with a plus where ``signed``."""
        return f"{self.factor * value:{'+' if signed else ''}.{self.decimals}f}"

    def interval(self, interval: Mapping[str, Any]) -> str:
        """Return a mean and half the width of its interval as tables show them; – where there is none.

        They are the entries ``mean`` and ``half_width``, as ``summarize`` returns them.
        """
        if interval["mean"] is None:
            return "–"
        return f"{self.text(interval['mean'])} ± {self.text(interval['half_width'])}"

    @property
    def _function(self) -> Callable[..., Any]:
        if isinstance(self.compute, str):
            module, _, name = self.compute.partition(":")
            function: Callable[..., Any] = getattr(import_module(module), name)
            return function
        if self.compute is None:
            raise Mistake(f"{self.name!r} is no figure of a map; drop it from the figures.")
        return self.compute


_METRICS, _CURVES = "fsl_explain.metrics", "fsl_explain.evaluation.removal"
_MAPS, _SCORES, _TWO = ("saliency",), ("score", "masked_score"), ("saliency", "other_saliency")
_AGAIN = ("lead", "side", "steps")
_REMOVED, _ALONE, _SHAPLEY = (("saliency", f"{how}_removals") for how in ("random", "single", "shapley"))
_REGISTERED = (
    Figure("accuracy", "Accuracy %", None, ()),
    Figure("removal_correlation", "Removed sets", f"{_CURVES}:correlation", _REMOVED, 1.0),
    Figure("removal_rank_correlation", "Removed sets, rank", f"{_CURVES}:rank_correlation", _REMOVED, 1.0),
    Figure("removal_partial_correlation", "At equal size", f"{_CURVES}:partial_correlation", _REMOVED, 1.0),
    Figure("infidelity", "Infidelity %", f"{_CURVES}:infidelity", _REMOVED, higher_is_better=False),
    Figure("single_removal_correlation", "One region", f"{_CURVES}:correlation", _ALONE, 1.0),
    Figure("single_removal_rank_correlation", "One region, rank", f"{_CURVES}:rank_correlation", _ALONE, 1.0),
    Figure("shapley_correlation", "Shapley", f"{_CURVES}:correlation", _SHAPLEY, 1.0),
    Figure("shapley_rank_correlation", "Shapley, rank", f"{_CURVES}:rank_correlation", _SHAPLEY, 1.0),
    Figure("average_drop", "AD %", f"{_METRICS}:drops", _SCORES, 1.0, higher_is_better=False),
    Figure("increase_in_confidence", "IC %", f"{_METRICS}:increases", _SCORES, 1.0),
    Figure("proportion", "Proportion %", f"{_METRICS}:proportion"),
    Figure(
        "intersection_over_union",
        "IoU %",
        "fsl_explain.evaluation.box_overlap:overlap",
        ("saliency", "boxes", "iou_threshold"),
    ),
    Figure("pointing_game", "Pointing %", f"{_METRICS}:pointing_game"),
    Figure("top_k_intersection", "Top-k %", f"{_METRICS}:top_k_intersection"),
    Figure("relevance_mass_accuracy", "Mass %", f"{_METRICS}:relevance_mass_accuracy"),
    Figure("relevance_rank_accuracy", "Rank %", f"{_METRICS}:relevance_rank_accuracy"),
    Figure("auc", "AUC %", f"{_METRICS}:auc"),
    Figure("sparseness", "Sparseness %", "fsl_explain.metrics:sparseness", _MAPS),
    Figure("insertion", "Insertion ×100", f"{_CURVES}:insertion_area", _AGAIN),
    Figure("deletion", "Deletion ×100", f"{_CURVES}:deletion_area", _AGAIN, higher_is_better=False),
    Figure("reference_correlation", "Other reference", f"{_METRICS}:map_correlation", _TWO, 1.0, higher_is_better=None),
    Figure("hit", "maximum in the right tile, %", f"{_METRICS}:pointing_game", decimals=1),
    Figure("energy", "positive mass in the right tile, %", f"{_METRICS}:relevance_mass_accuracy", decimals=1),
    Figure(
        "correlation",
        "correlation of the maps under two references",
        f"{_METRICS}:map_correlation",
        _TWO,
        1.0,
        higher_is_better=None,
    ),
)


class Figures(Registry[Figure]):
    """The figures by name."""

    def __setitem__(self, name: str, member: Figure) -> None:
        if not isinstance(member, Figure | str):
            raise WrongType(
                f"expected a Figure for {name!r}, but got {type(member).__name__}; write "
                f"Figure({name!r}, heading, function)."
            )
        super().__setitem__(name, member)


FIGURES: Registry[Figure] = Figures("figure", {figure.name: figure for figure in _REGISTERED})
"""Every figure that evaluations may measure, by its name in ``metrics =`` and ``figures=``."""
LAYOUTS = {
    "fam-1": ("accuracy", "proportion", "intersection_over_union"),
    "fam-2": ("accuracy", "average_drop", "increase_in_confidence"),
    "fam-3": ("accuracy", "proportion", "intersection_over_union", "average_drop", "increase_in_confidence"),
    "fam-4": ("accuracy", "proportion", "intersection_over_union", "average_drop", "increase_in_confidence"),
    "lafam": (
        "pointing_game",
        "top_k_intersection",
        "relevance_mass_accuracy",
        "relevance_rank_accuracy",
        "auc",
        "sparseness",
    ),
}
"""The figures of the papers' tables: FAM Tables I to IV, LaFAM Tables 1 and 2."""
OF_DECISIONS = (
    "average_drop",
    "increase_in_confidence",
    "proportion",
    "intersection_over_union",
    "pointing_game",
)
"""What an evaluation of decisions measures unless told otherwise: of episodes, and of a bank."""
OF_REMOVALS = ("removal_correlation", "removal_rank_correlation", "removal_partial_correlation", "infidelity")
"""Whether maps tell what the model does when random sets of regions are removed."""
OF_ALL_REMOVALS = (
    *OF_REMOVALS,
    "single_removal_correlation",
    "single_removal_rank_correlation",
    "shapley_correlation",
    "shapley_rank_correlation",
)
"""The same, with regions removed one at a time, and their Shapley values."""
OF_REFERENCES = ("reference_correlation", "insertion", "deletion")
"""What tells maps apart: another reference, and the lead while pixels are removed."""
OF_MAPS = (
    "pointing_game",
    "top_k_intersection",
    "relevance_rank_accuracy",
    "relevance_mass_accuracy",
    "auc",
    "sparseness",
)
"""What a comparison measures of every map: LaFAM's six, which ``metrics.map_figures`` makes from one sort."""
OF_COMPARED_MAPS = (*OF_REMOVALS, *OF_REFERENCES, *OF_MAPS)
OF_MOSAICS = ("hit", "energy", "correlation")


def find_figures(figures: Iterable[str | Figure], known: Sequence[str], where: str) -> tuple[Figure, ...]:
    """Return figures by name or as given, each once; ``known`` are the needs that this evaluation has.

    Raises: ``LookupError`` with the nearest names; ``ValueError`` for one that needs what ``where`` does not have, or
    that is made of both maps and scores.
    """
    if isinstance(figures, str):
        raise WrongType(f"expected a list of figures, but got {figures!r}; write [{figures!r}].")
    found: dict[str, Figure] = {}
    for one in figures:
        if not isinstance(one, str | Figure):
            raise WrongType(f"expected figures by name or as Figure(...), but got {type(one).__name__}.")
        figure = FIGURES.find(one)
        missing = [need for need in figure.needs if need not in known]
        if missing or figure.compute is None:
            what = "is no figure of a map" if figure.compute is None else f"needs {NEEDS[missing[0]]}"
            raise Mistake(f"the figure {figure.name!r} {what}, which {where} does not have; drop it.")
        if figure.per_query and not set(figure.needs) <= set(PER_QUERY):
            raise Mistake(
                f"the figure {figure.name!r} needs both maps and scores, but {where} keeps no map beside a score; "
                "make two figures of it."
            )
        found[figure.name] = figure
    return tuple(found.values())


def shown_figures(names: Iterable[str], figures: Iterable[Figure] = ()) -> tuple[Figure, ...]:
    """Return the figures of these names that are given or registered, in the order of the names."""
    given = {figure.name: figure for figure in figures}
    return tuple(given[name] if name in given else FIGURES[name] for name in names if name in given or name in FIGURES)
