"""The two quick steps say what the plain ones say, in every precision."""

import pytest
import torch

from fsl_explain.metrics.pixelwise import kept_inside, reaches

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def maps(dtype):
    values = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    values[1] = 0
    return values, values > 0.3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_lies_outside_becomes_zero(dtype):
    values, mask = maps(dtype)
    for inside in (mask, ~mask, mask.transpose(1, 2).contiguous().transpose(1, 2)):
        found = kept_inside(values, inside)
        assert found.dtype == dtype
        assert torch.equal(found, torch.where(inside, values, 0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pixels_reach_the_bound_of_their_own_map(dtype):
    values, _ = maps(dtype)
    bound = torch.tensor([values[0, 3, 2], 0, torch.nan], dtype=dtype)
    found = reaches(values.requires_grad_(), bound)
    assert found.dtype == torch.bool
    assert torch.equal(found, values >= bound[:, None, None])
    assert found[0, 3, 2]
    assert found[1].all()
    assert not found[2].any()
