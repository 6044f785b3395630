"""Layers that stand between the pooled activations and the embedding."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class L2Normalize(nn.Module):
    """Divide each embedding by its Euclidean norm, as NPID and MoCo do after their linear layer."""

    def forward(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return embeddings of norm 1."""
        return F.normalize(values, dim=-1)
