"""Classes that the settings of a run would measure and its encoder has learned; see ``evaluation.seen_classes``."""

from collections.abc import Sequence

from episodes import LabeledImages
from fsl_explain.backbones.named import shipped_with
from fsl_explain.backbones.weights.loading import trained_on
from fsl_explain.backbones.weights.trained_on import TrainedOn
from fsl_explain.config import EncoderConfig, TrainingConfig
from fsl_explain.config.data import DataConfig
from fsl_explain.evaluation.seen_classes import EvaluatedFrom, SeenClasses, check_unseen


def check_evaluated(encoder: EncoderConfig, data: DataConfig, dataset: LabeledImages) -> SeenClasses:
    """Compare the classes of ``dataset``, opened from ``data``, with those in the header of the encoder's weights.

    Raises: ``ValueError`` where they meet and ``encoder.seen_classes`` does not allow it.
    """
    path = encoder.checkpoint or shipped_with(encoder.name)
    origin = EvaluatedFrom("data", _text(data), data.part)
    allowed = encoder.seen_classes == "allow"
    learner = "" if path is None else path.name
    return check_unseen(dataset, trained_on(path), allowed=allowed, learner=learner, origin=origin)


def check_tested(config: TrainingConfig, learned: Sequence[TrainedOn]) -> SeenClasses | None:
    """Compare the classes of [test.data] with those that the encoder has learned by then; None without a test.

    Raises: ``ValueError`` where they meet and ``encoder.seen_classes`` does not allow it; as ``DataConfig.open``.
    """
    if config.test is None:
        return None
    data, allowed = config.test.data, config.encoder.seen_classes == "allow"
    origin = EvaluatedFrom("test.data", _text(data), data.part)
    return check_unseen(data.open("test.data"), learned, allowed=allowed, origin=origin)


def learned_by(config: TrainingConfig, dataset: LabeledImages) -> tuple[TrainedOn, ...]:
    """Return the classes whose labels the weights will have seen: those of their beginning, and of this training."""
    begun = trained_on(config.encoder.checkpoint or shipped_with(config.encoder.name))
    if not config.objective.uses_labels:
        return begun
    split = EvaluatedFrom(split=_text(config.data)).split_name
    return tuple(dict.fromkeys((*begun, TrainedOn(config.data.kind, split, dataset.classes))))


def _text(data: DataConfig) -> str | None:
    return None if data.split is None else str(data.split)
