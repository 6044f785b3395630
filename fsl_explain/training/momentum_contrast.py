"""MoCo: one view of an image against another view and a queue of other images' keys.

Sources: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", 2020 (v1); Chen et al.,
"Improved Baselines with Momentum Contrastive Learning", 2020 (v2).
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.config.training import MomentumContrastObjective
from fsl_explain.training.objective import Batch, Embedder, embedding_width, shuffled_images
from fsl_explain.training.processes import gathered


class MomentumContrast(nn.Module):
    """Match two views of an image; a unit is one image. ``queue`` holds keys of norm 1, the oldest at ``oldest``.

    DEVIATION: the official code shuffles the keys' images over its GPUs, so that no batch normalization sees a query
    and its key together; here each process normalizes its keys in one batch of their own, in the order of the queries.

    Raises: ``ValueError`` for a queue that is no multiple of the batch.
    """

    views = 2
    queue: Tensor
    oldest: Tensor

    def __init__(
        self, embedder: Embedder, dataset: LabeledImages, config: MomentumContrastObjective, size: int, seed: int
    ) -> None:
        super().__init__()
        if config.queue % config.batch_size:
            raise Mistake(
                f"expected a queue that is a multiple of the batch of {config.batch_size}, but got {config.queue}; "
                "change objective.queue."
            )
        self.config: MomentumContrastObjective = config
        self.seed: int = seed
        self.images: int = len(dataset)
        self.embedder = embedder
        self.key_embedder: Embedder = copy.deepcopy(embedder).requires_grad_(False)
        keys = torch.randn(config.queue, embedding_width(embedder, size))
        self.register_buffer("queue", F.normalize(keys, dim=-1))
        self.register_buffer("oldest", torch.tensor(0))

    def draw(self, step: int) -> Int64[np.ndarray, "image 1"]:
        """Return the images of a step."""
        return shuffled_images(self.images, self.config.batch_size, self.seed, step)

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss, after moving the key encoder and before putting the new keys into the queue."""
        views = batch.pixels.flatten(1, 2)
        queries = F.normalize(self.embedder(views[0]), dim=-1)
        with torch.no_grad():
            self._follow()
            keys = F.normalize(self.key_embedder(views[1]), dim=-1)
        own = (queries * keys).sum(dim=-1, keepdim=True)
        logits = torch.cat([own, queries @ self.queue.T.clone()], dim=1) / self.config.temperature
        self._put(gathered(keys))
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    @torch.no_grad()
    def _follow(self) -> None:
        pairs = zip(self.key_embedder.parameters(), self.embedder.parameters(), strict=True)
        for key, query in pairs:
            key.mul_(self.config.momentum).add_(query, alpha=1 - self.config.momentum)

    def _put(self, keys: Float[Tensor, "key channel"]) -> None:
        start = int(self.oldest)
        self.queue[start : start + len(keys)] = keys
        self.oldest.fill_((start + len(keys)) % len(self.queue))
