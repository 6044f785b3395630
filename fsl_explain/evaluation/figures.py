"""What is measured of a map: heading, factor and direction of every figure that tables show."""

from typing import NamedTuple


class Figure(NamedTuple):
    """How a figure is shown, and which way it is better."""

    heading: str
    factor: float = 100.0
    higher_is_better: bool | None = True  # None: neither side is better

    @property
    def title(self) -> str:
        """The heading with an arrow that points to the better side, where there is one."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return self.heading + arrow


FIGURES = {
    "accuracy": Figure("Accuracy %"),
    "average_drop": Figure("AD %", 1.0, higher_is_better=False),
    "increase_in_confidence": Figure("IC %", 1.0),
    "proportion": Figure("Proportion %"),
    "intersection_over_union": Figure("IoU %"),
    "pointing_game": Figure("Pointing %"),
    "top_k_intersection": Figure("Top-k %"),
    "relevance_mass_accuracy": Figure("Mass %"),
    "relevance_rank_accuracy": Figure("Rank %"),
    "auc": Figure("AUC %"),
    "sparseness": Figure("Sparseness %"),
    "insertion": Figure("Insertion ×100"),
    "deletion": Figure("Deletion ×100", higher_is_better=False),
    "reference_correlation": Figure("Other reference", 1.0, higher_is_better=None),
}
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
