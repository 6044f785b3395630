from .training import batches_in_an_epoch, objective_of, train
from .unfinished import Unfinished, recorded_settings

__all__ = ["Unfinished", "batches_in_an_epoch", "objective_of", "recorded_settings", "train"]
