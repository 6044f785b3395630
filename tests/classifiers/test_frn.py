"""FRN's regression, beside numpy's, and what its checkpoints hold; its laws are those of all rules over cells."""

import math

import numpy as np
import pytest
import torch

from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.classifiers.local.frn import FRN

CELLS, OTHER_CELLS, WAY, SHOT = 6, 5, 3, 3
VALID = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])


@pytest.mark.parametrize("channels", [2, 4, 15, 16, 40])
def test_cells_are_weighed_alike_whichever_system_is_solved(channels):
    """Fifteen cells of a class, nine of them no padding, and fewer channels or more."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, channels * CELLS, generator=generator, dtype=torch.float64)
    embeddings = torch.randn(WAY, SHOT, channels * OTHER_CELLS, generator=generator, dtype=torch.float64)
    rule = FRN(channels, alpha=0.3, beta=-0.2)
    ours = rule.own_cells(query)[:, None]
    found = rule._regression(ours, SupportSet(embeddings, VALID, ("a", "b", "c")))
    for at in range(WAY):
        pool = rule.own_cells(embeddings[at]).masked_fill(~VALID[at][:, None, None], 0).flatten(0, 1)
        ridge = int(VALID[at].sum()) * OTHER_CELLS / channels * math.exp(0.3) + 1e-6
        system = (pool @ pool.T + ridge * torch.eye(len(pool), dtype=torch.float64)).numpy()
        slow = ours[:, 0].numpy() @ pool.T.numpy() @ np.linalg.inv(system) * math.exp(-0.2)
        np.testing.assert_allclose(found[:, at].numpy(), slow, rtol=1e-9, atol=1e-12)


def test_it_reads_what_a_checkpoint_learned(tmp_path):
    path, weight = tmp_path / "frn.pth", torch.zeros(1)
    learned = {"r": torch.tensor([0.5, -0.25]), "scale": torch.tensor([7.5])}
    torch.save({**learned, "feature_extractor.layer1.0.conv1.weight": weight}, path)
    assert FRN.load(path) == FRN(alpha=0.5, beta=-0.25, scale=7.5, divisor=640**0.5)
    torch.save({**learned, "feature_extractor.layers.0.layers.0.weight": weight}, path)
    assert FRN.load(path).divisor == 1
    torch.save({"scale": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="expected a checkpoint of FRN in"):
        FRN.load(path)
