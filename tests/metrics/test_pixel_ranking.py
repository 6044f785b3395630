"""The keys of pixels are in ascending order of value and membership, in single and double precision."""

import pytest
import torch

from fsl_explain.metrics.pixel_ranking import inside_up_to, members_of, ranking_keys, values_of


def maps(kind, dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 40, 41, generator=generator, dtype=torch.float64)
    if kind == "tied":
        values = values.mul(3).round()
    if kind == "of all sizes":
        values = values.sign() * 10 ** (9 * values)
    return values.to(dtype), torch.rand(3, 40, 41, generator=generator) < 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["all different", "tied", "of all sizes"])
def test_keys_are_pairs_of_value_and_membership_in_order(kind, dtype):
    saliency, mask = maps(kind, dtype)
    before = saliency.clone()
    keys = ranking_keys(saliency, mask)
    for number, (row, inside) in enumerate(zip(saliency, mask, strict=True)):
        positive = [max(value, 0.0) for value in row.flatten().tolist()]
        expected = sorted(zip(positive, inside.flatten().tolist(), strict=True))
        assert values_of(keys)[number].tolist() == [value for value, _ in expected]
        assert members_of(keys)[number].tolist() == [int(member) for _, member in expected]
        assert int(inside_up_to(keys)[number, -1]) == int(inside.sum())
    assert torch.equal(saliency, before), "the map itself was changed"
