"""Embeddings of real photographs, computed once for all tests that want them."""

from functools import cache

import torch

from episodes import Cub200, select
from fsl_explain import Encoder

EVERY = 4  # neighboring species are of one genus


@cache
def birds(root):
    """Embeddings (image, 1280) and labels of three species of the folder, by EfficientNet-Lite0."""
    whole = Cub200(root)
    dataset = select(whole, whole.classes[::EVERY])
    encoder = Encoder.named("efficientnet-lite0")
    parts = []
    for start in range(0, len(dataset), 8):
        images = [dataset[i].image for i in range(start, min(start + 8, len(dataset)))]
        parts.append(encoder(encoder.preprocess(images)).embedding)
    return torch.cat(parts), torch.from_numpy(dataset.labels)
