"""Classes that an evaluation shares with the training of its encoder: refused, or stated in the results.

Classes are the same where their names are. The kind of the data set is no part of it, because one data set is read in
several ways (CUB-200-2011 as such, as a table, as folders), and a figure that is wrong in silence costs more than a
name that has to be allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.backbones.weights.trained_on import TrainedOn
from fsl_explain.evaluation.table import Table

SHOWN = 3


@dataclass(frozen=True)
class SeenClasses:
    """The evaluated classes that the encoder learned with their labels; None where its weights do not say."""

    names: tuple[str, ...] | None
    evaluated: int

    @classmethod
    def recalled(cls, provenance: Mapping[str, Any]) -> "SeenClasses":
        """Return what was ``recorded`` with figures that are stored."""
        names = provenance.get("classes_seen_in_training")
        return cls(None if names is None else tuple(names), provenance["dataset"]["classes"])

    @property
    def recorded(self) -> dict[str, Any]:
        """The part of the provenance that is about them."""
        return {"classes_seen_in_training": None if self.names is None else list(self.names)}

    @property
    def sentences(self) -> tuple[str, ...]:
        """What has to stand beside every figure: one sentence, or none where no class was seen."""
        if not self.names:
            return ()
        return (f"The encoder was trained on {len(self.names)} of the {self.evaluated} classes ({_some(self.names)}).",)

    def beside(self, table: Table) -> Table:
        """Return the table with the sentences as its first notes."""
        return replace(table, notes=(*self.sentences, *table.notes))


@dataclass(frozen=True)
class EvaluatedFrom:
    """Where evaluated classes come from, for the advice in a refusal: a section of settings, a split and its part."""

    section: str = "data"
    split: str | None = None
    part: str | None = None

    @property
    def split_name(self) -> str | None:
        """The split without its folder."""
        return None if self.split is None else Path(self.split).name


def check_unseen(
    dataset: LabeledImages,
    learned: Sequence[TrainedOn],
    *,
    allowed: bool = False,
    learner: str = "the encoder",
    origin: EvaluatedFrom = EvaluatedFrom(),
) -> SeenClasses:
    """Compare the classes of ``dataset`` with those that ``learner`` has learned.

    Raises: ``ValueError`` where they meet and that is not ``allowed``.
    """
    known = {name for one in learned for name in one.classes}
    names = tuple(name for name in dataset.classes if name in known)
    if names and not allowed:
        raise Mistake(
            f"expected classes in [{origin.section}] that are not in the training of {learner}, but {len(names)} of "
            f"the {len(dataset.classes)} are ({_some(names)}); {_advice(learned, origin)}, or measure classes seen "
            "in training with --set encoder.seen_classes=allow, which the results will state."
        )
    return SeenClasses(names if learned else None, len(dataset.classes))


def _advice(learned: Sequence[TrainedOn], origin: EvaluatedFrom) -> str:
    """Say how to come to classes that were not learned, as far as the splits tell it."""
    splits = {one.split for one in learned} - {None}
    if len(splits) != 1:
        return "choose other classes"
    (split,) = splits
    if split == origin.split_name:
        other = "base" if origin.part == "novel" else "novel"
        return f"choose another part of their split with --set {origin.section}.part={other}"
    return f"choose the split of that training with --set {origin.section}.split={split}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
