"""Training of encoders: in episodes, on pairs, on instances; resumable to the same weights."""

from fsl_explain.training.training import batches_in_an_epoch, objective_of, train
from fsl_explain.training.unfinished import Unfinished, recorded_settings

__all__ = ["Unfinished", "batches_in_an_epoch", "objective_of", "recorded_settings", "train"]
