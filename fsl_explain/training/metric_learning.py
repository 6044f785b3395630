"""Multi-Similarity and Margin training, with the losses of pytorch-metric-learning.

Sources: Wang et al., "Multi-Similarity Loss", 2019; Wu et al., "Sampling Matters in Deep Embedding Learning", 2017.
The defaults are those of the code that FAM trained with, research-ms-loss. Of embeddings of norm 1 its Multi-Similarity
loss is the one here; others are normalized here and not there. DEVIATION: for Margin loss each image draws as many
pairs of a positive and a negative as its class has images in the batch, where that code draws one; the mean over the
active ones is the same but for chance.
"""

from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor, nn

from episodes import LabeledImages
from episodes.errors import MissingPackage, Mistake
from fsl_explain.config.training import MarginObjective, MultiSimilarityObjective
from fsl_explain.devices import precise
from fsl_explain.training.objective import Batch, Embedder
from fsl_explain.training.processes import gathered, gathered_to_learn, same_chance


class MetricLearning(nn.Module):
    """Pairs within batches of some classes; a unit holds the images of one class.

    Raises: ``ValueError`` for a data set with fewer classes than a batch needs, or without pytorch-metric-learning.
    """

    views = 1

    def __init__(
        self,
        embedder: Embedder,
        dataset: LabeledImages,
        config: MultiSimilarityObjective | MarginObjective,
        seed: int,
    ) -> None:
        super().__init__()
        self.config: MultiSimilarityObjective | MarginObjective = config
        self.seed: int = seed
        self.images_of: list[Int64[np.ndarray, "image"]] = [
            np.flatnonzero(dataset.labels == label) for label in np.unique(dataset.labels)
        ]
        if len(self.images_of) < config.classes_per_batch:
            raise Mistake(
                f"a batch needs {config.classes_per_batch} classes, but {dataset.name} has {len(self.images_of)}; "
                "lower objective.classes_per_batch."
            )
        self.embedder: Embedder = embedder
        self.loss: nn.Module
        self.miner: nn.Module
        self.loss, self.miner = (
            _multi_similarity(config)
            if isinstance(config, MultiSimilarityObjective)
            else _margin(config, len(dataset.classes))
        )

    def draw(self, step: int) -> Int64[np.ndarray, "class_ image"]:
        """Draw classes, and images of each; a class with too few images repeats some."""
        rng, count = np.random.default_rng((self.seed, step)), self.config.images_per_class
        chosen = rng.choice(len(self.images_of), self.config.classes_per_batch, replace=False)
        drawn = [self.images_of[label] for label in chosen]
        return np.stack([rng.choice(images, count, replace=len(images) < count) for images in drawn])

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss of the pairs that the mining keeps."""
        own = self.embedder(batch.pixels.flatten(0, 2)).unflatten(0, batch.labels.shape)
        embeddings, labels = gathered_to_learn(own).flatten(0, 1), gathered(batch.labels).flatten()
        with same_chance(labels.device):
            # In float32 the weights of an image without a near negative vanish beside those of the others.
            pairs = self.miner(precise(embeddings.detach()), labels)
        loss: Tensor = self.loss(embeddings, labels, pairs)
        return loss


def _multi_similarity(config: MultiSimilarityObjective) -> tuple[nn.Module, nn.Module]:
    losses, miners = _library()
    loss = losses.MultiSimilarityLoss(alpha=config.alpha, beta=config.beta, base=config.base)
    return loss, miners.MultiSimilarityMiner(epsilon=config.epsilon)


def _margin(config: MarginObjective, classes: int) -> tuple[nn.Module, nn.Module]:
    losses, miners = _library()
    loss = losses.MarginLoss(
        margin=config.margin,
        nu=0,
        beta=config.boundary,
        learn_beta=config.learn_boundary,
        num_classes=classes if config.learn_boundary else None,
    )
    # research-ms-loss commented its upper cutoff out: two points of the unit sphere are never farther apart than 2.
    return loss, miners.DistanceWeightedMiner(cutoff=config.cutoff, nonzero_loss_cutoff=2.0)


def _library() -> tuple[Any, Any]:
    try:
        return import_module("pytorch_metric_learning.losses"), import_module("pytorch_metric_learning.miners")
    except ImportError as error:
        what = "an objective of metric learning"
        raise MissingPackage.of_extra("training", "pytorch-metric-learning", what) from error
