"""NPID: every image its own class, compared with a memory of all images.

Source: Wu, Xiong, Yu, Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018.
Notation: v the embeddings of a batch, f the memory, n images, m noise samples, τ the temperature.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from episodes import LabeledImages
from fsl_explain.config.training import InstanceObjective
from fsl_explain.training.objective import Batch, Embedder, embedding_width, shuffled_images
from fsl_explain.training.processes import gathered, own_share, processes, same_chance

EPSILON = 1e-7
"""Added to sums of probabilities, as in the official code."""


class InstanceDiscrimination(nn.Module):
    """Tell each image from all others; a unit is one image. ``memory`` holds an embedding of norm 1 for each."""

    views = 1
    memory: Tensor
    normalizer: Tensor

    def __init__(self, embedder: Embedder, dataset: LabeledImages, config: InstanceObjective, size: int, seed: int):
        super().__init__()
        self.config: InstanceObjective = config
        self.seed: int = seed
        self.images: int = len(dataset)
        self.embedder = embedder
        width = embedding_width(embedder, size)
        limit = 1 / math.sqrt(width / 3)
        self.register_buffer("memory", torch.empty(self.images, width).uniform_(-limit, limit))
        self.register_buffer("normalizer", torch.tensor(-1.0))  # Z, unknown before the first batch

    def draw(self, step: int) -> Int64[np.ndarray, "image 1"]:
        """Return the images of a step."""
        return shuffled_images(self.images, self.config.batch_size, self.seed, step)

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the loss, and move the memory of the batch's images towards their embeddings."""
        embeddings = F.normalize(self.embedder(batch.pixels.flatten(0, 2)), dim=-1)
        images = batch.images.flatten()
        loss = self._sampled(embeddings, images) if self.config.negatives else self._full(embeddings, images)
        self._remember(gathered(embeddings.detach()), gathered(images))
        return loss

    def _full(self, embeddings: Float[Tensor, "image channel"], images: Int[Tensor, "image"]) -> Float[Tensor, ""]:
        return F.cross_entropy(embeddings @ self.memory.T.clone() / self.config.temperature, images)

    def _sampled(self, embeddings: Float[Tensor, "image channel"], images: Int[Tensor, "image"]) -> Float[Tensor, ""]:
        with same_chance(images.device):
            size = (len(images) * processes(), self.config.negatives)
            drawn = torch.randint(self.images, size, device=images.device)[own_share()]
        rows = self.memory[torch.cat([images[:, None], drawn], dim=1)]
        scores = torch.exp(torch.einsum("bc,bmc->bm", embeddings, rows) / self.config.temperature)
        if float(self.normalizer) < 0:
            self.normalizer.copy_(gathered(scores.mean()[None]).mean() * self.images)
        return noise_contrastive_loss(scores / self.normalizer, self.images)

    @torch.no_grad()
    def _remember(self, embeddings: Float[Tensor, "image channel"], images: Int[Tensor, "image"]) -> None:
        kept = self.config.momentum
        self.memory[images] = F.normalize(kept * self.memory[images] + (1 - kept) * embeddings, dim=-1)


def noise_contrastive_loss(probabilities: Float[Tensor, "image sample"], images: int) -> Float[Tensor, ""]:
    """Return −log h(data) − Σ log(1 − h(noise)) per image, h = P / (P + m/n), column 0 the data (NPID Eqs. 6 and 7)."""
    noise = (probabilities.shape[1] - 1) / images
    of_data = probabilities[:, 0] / (probabilities[:, 0] + noise + EPSILON)
    of_noise = noise / (probabilities[:, 1:] + noise + EPSILON)
    return -(of_data.log().sum() + of_noise.log().sum()) / len(probabilities)
