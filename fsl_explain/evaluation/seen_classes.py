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
from fsl_explain.backbones.weights.loading import trained_on
from fsl_explain.backbones.weights.trained_on import TrainedOn
from fsl_explain.config import EncoderConfig, TrainingConfig
from fsl_explain.config.data import DataConfig
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


def check_evaluated(encoder: EncoderConfig, data: DataConfig, dataset: LabeledImages) -> SeenClasses:
    """Compare the classes of ``dataset``, opened from ``data``, with those in the header of the encoder's weights.

    Raises: ``ValueError`` where they meet and ``encoder.seen_classes`` does not allow it.
    """
    path = encoder.checkpoint
    learned = trained_on(path)
    return _checked(encoder, learned, data, dataset, "data", "" if path is None else path.name)


def check_tested(config: TrainingConfig, learned: Sequence[TrainedOn]) -> SeenClasses | None:
    """Compare the classes of [test.data] with those that the encoder has learned by then; None without a test.

    Raises: ``ValueError`` where they meet and ``encoder.seen_classes`` does not allow it; as ``DataConfig.open``.
    """
    if config.test is None:
        return None
    data = config.test.data
    return _checked(config.encoder, learned, data, data.open("test.data"), "test.data", "the encoder")


def learned_by(config: TrainingConfig, dataset: LabeledImages) -> tuple[TrainedOn, ...]:
    """Return the classes whose labels the weights will have seen: those of their beginning, and of this training."""
    begun = trained_on(config.encoder.checkpoint)
    if not config.objective.uses_labels:
        return begun
    now = TrainedOn(config.data.kind, _split_name(config.data), dataset.classes)
    return tuple(dict.fromkeys((*begun, now)))


def _checked(
    encoder: EncoderConfig,
    learned: Sequence[TrainedOn],
    data: DataConfig,
    dataset: LabeledImages,
    section: str,
    learner: str,
) -> SeenClasses:
    known = {name for one in learned for name in one.classes}
    names = tuple(name for name in dataset.classes if name in known)
    if names and encoder.seen_classes == "refuse":
        raise Mistake(
            f"expected classes in [{section}] that are not in the training of {learner}, but {len(names)} of the "
            f"{len(dataset.classes)} are ({_some(names)}); {_advice(learned, data, section)}, or measure classes seen "
            "in training with --set encoder.seen_classes=allow, which the results will state."
        )
    return SeenClasses(names if learned else None, len(dataset.classes))


def _advice(learned: Sequence[TrainedOn], data: DataConfig, section: str) -> str:
    """Say how to come to classes that were not learned, as far as the splits tell it."""
    splits = {one.split for one in learned} - {None}
    if len(splits) != 1:
        return "choose other classes"
    (split,) = splits
    if split == _split_name(data):
        other = "base" if data.part == "novel" else "novel"
        return f"choose another part of their split with --set {section}.part={other}"
    return f"choose the split of that training with --set {section}.split={split}"


def _split_name(data: DataConfig) -> str | None:
    return None if data.split is None else Path(data.split).name


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
