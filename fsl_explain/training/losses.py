"""Losses of episodic training.

Sources: the few-shot loss and the global loss are those of Cross Attention Network (Hou et al., 2019);
their weighting by homoscedastic uncertainty is Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty
to Weigh Losses", 2018.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from fsl_explain.similarities import cosine


def few_shot_loss(
    query: Float[Tensor, "episode query channel"],
    supports: Float[Tensor, "episode way shot channel"],
    labels: Int[Tensor, "episode query"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of queries whose logits are temperature × cosine to each class's prototype."""
    logits = temperature * cosine.pairwise(query, supports.mean(dim=2))
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


class UncertaintyWeighting(nn.Module):
    """Weigh losses L_i by learned log-variances s_i: Σ_i exp(-s_i) L_i + s_i / 2."""

    def __init__(self, losses: int) -> None:
        super().__init__()
        self.log_variances: nn.Parameter = nn.Parameter(torch.zeros(losses))

    def forward(self, losses: Float[Tensor, "loss"]) -> Float[Tensor, ""]:
        """Return the weighted sum."""
        return (torch.exp(-self.log_variances) * losses + self.log_variances / 2).sum()
