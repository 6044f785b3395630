"""Episodic training: cross-entropy in episodes plus cross-entropy over all base classes.

Source: the two losses are those of Cross Attention Network (Hou et al., 2019), weighted as Kendall et al. (2018).
DEVIATION: its official code takes both losses of the queries at every cell of their maps; here they are of embeddings,
as the decision is, and the loss over all classes is of the supports too.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from episodes import EpisodeSampler, LabeledImages
from fsl_explain.config.training import EpisodicObjective
from fsl_explain.training.losses import UncertaintyWeighting, few_shot_loss
from fsl_explain.training.objective import Batch, Embedder, embedding_width


class Episodic(nn.Module):
    """Few-shot tasks; a unit is one episode, its supports before its queries, class after class.

    Raises: ``ValueError`` for too few classes, or too few images in one of them.
    """

    views = 1

    def __init__(self, embedder: Embedder, dataset: LabeledImages, config: EpisodicObjective, size: int, seed: int):
        super().__init__()
        self.config = config
        self.sampler: EpisodeSampler = EpisodeSampler(
            dataset.labels,
            n_way=config.n_way,
            n_shot=config.n_shot,
            n_query=config.n_query,
            seed=seed,
            class_names=dataset.classes,
        )
        self.embedder = embedder
        self.classifier: nn.Linear = nn.Linear(embedding_width(embedder, size), len(dataset.classes))
        self.weighting: UncertaintyWeighting = UncertaintyWeighting(2)

    def draw(self, step: int) -> Int64[np.ndarray, "episode image"]:
        """Return the images of the episodes of a step."""
        count = self.config.episodes_per_batch
        drawn = [self.sampler[step * count + i] for i in range(count)]
        return np.stack([np.concatenate([one.support.ravel(), one.query.ravel()]) for one in drawn])

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """Return both losses, weighted by what the training has learned of their uncertainty."""
        way, shot, n_query = self.config.n_way, self.config.n_shot, self.config.n_query
        embeddings = self.embedder(batch.pixels.flatten(0, 2))
        by_episode = embeddings.unflatten(0, batch.labels.shape)
        supports = by_episode[:, : way * shot].unflatten(1, (way, shot))
        places = torch.arange(way, device=embeddings.device).repeat_interleave(n_query).expand(len(by_episode), -1)
        few_shot = few_shot_loss(by_episode[:, way * shot :], supports, places, self.config.temperature)
        over_all_classes = F.cross_entropy(self.classifier(embeddings), batch.labels.flatten())
        weighted: Tensor = self.weighting(torch.stack([over_all_classes, few_shot]))
        return weighted
