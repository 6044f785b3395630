import math

import torch
import torch.nn.functional as F

from fsl_explain.training.losses import UncertaintyWeighting, few_shot_loss


def test_few_shot_loss_equals_its_definition():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    supports = torch.randn(2, 2, 3, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]])
    total = 0.0
    for episode in range(2):
        for position in range(4):
            logits = [
                7 * float(F.cosine_similarity(query[episode, position], supports[episode, c].mean(0), dim=0))
                for c in range(2)
            ]
            total += math.log(sum(math.exp(v) for v in logits)) - logits[labels[episode, position]]
    torch.testing.assert_close(
        few_shot_loss(query, supports, labels, 7.0), torch.tensor(total / 8, dtype=torch.float64)
    )


def test_uncertainty_weighting_equals_its_definition():
    weighting = UncertaintyWeighting(2)
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([0.5, -1.0]))
    found = weighting(torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(found.item(), math.exp(-0.5) * 2 + 0.25 + math.exp(1.0) * 3 - 0.5, rtol=1e-6, atol=0)
