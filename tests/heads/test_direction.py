"""The direction of a vector does not depend on its length, and only zero has none."""

import pytest
import torch
import torch.nn.functional as F
from tiny_encoder import HEADS, images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.heads.direction import direction, is_zero, length
from fsl_explain.similarities import SIMILARITIES, cosine
from retrieval_explain import MemoryBank

SCALES = [1e-30, 1e-20, 1e-13, 1e-12, 1.0, 1e18, 1e30]


def vectors(dtype=torch.float64):
    return torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ordinary_vectors_are_normalized_bit_by_bit_as_torch_does(dtype):
    for scale in (1e-6, 0.3, 1.0, 77.0, 1e6):
        values = vectors(dtype) * scale
        assert torch.equal(direction(values), F.normalize(values, dim=-1))
        assert torch.equal(length(values), values.norm(dim=-1))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_direction_has_norm_one_at_every_length(dtype, scale):
    small = (vectors() * scale).to(dtype)
    torch.testing.assert_close(direction(small).norm(dim=-1), torch.ones(5, dtype=dtype))
    torch.testing.assert_close(length(small).double(), small.double().norm(dim=-1), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("value", [2.0**-149, 2.0**-130, 2.0**127])
def test_the_smallest_and_largest_numbers_have_a_direction(value):
    assert direction(torch.tensor([0.0, value])).tolist() == [0.0, 1.0]
    assert direction(torch.tensor([0.0, 0.0])).tolist() == [0.0, 0.0]
    assert is_zero(torch.tensor([[0.0, value], [0.0, -0.0]])).tolist() == [False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_normalized_in_float32(dtype):
    values = (vectors() * 300).to(dtype)  # squares leave float16
    torch.testing.assert_close(direction(values).float().norm(dim=-1), torch.ones(5), atol=1e-2, rtol=0.0)


def test_a_gradient_through_a_direction_is_that_of_torch():
    ours, theirs = vectors().requires_grad_(), vectors().requires_grad_()
    weights = torch.randn(5, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (direction(ours) * weights).sum().backward()
    (F.normalize(theirs, dim=-1) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.autograd.gradcheck(direction, ours)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_an_image_is_like_itself_whatever_its_length(dtype, scale):
    one, other = vectors(dtype), (vectors() * scale).to(dtype)
    torch.testing.assert_close(cosine.pairwise(one, other).diagonal(), torch.ones(5, dtype=dtype))
    torch.testing.assert_close(cosine.contributions(one, other).sum(dim=-1), torch.ones(5, dtype=dtype))
    wide = other.double()
    torch.testing.assert_close(cosine.form(one.double(), wide).value(one.double(), wide), torch.ones(5).double())


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float16", 1.0), *(("float32", scale) for scale in (1e-25, 1e-20, 1e-13, 1.0, 1e18))]
)
def test_banks_in_memory_and_on_disk_agree_on_what_has_a_direction(tmp_path, dtype, scale):
    rows = (vectors() * scale).float()
    bank = MemoryBank.from_embeddings(rows)
    bank.save(tmp_path / "b.bank", dtype=dtype)
    stored = MemoryBank.load(tmp_path / "b.bank")
    for one in (bank, stored):
        found = one.search(rows, k=5)
        assert found.indices[:, 0].tolist() == [0, 1, 2, 3, 4]
        assert found.similarities[:, 0].tolist() == pytest.approx([1.0] * 5, abs=1e-3)
    with pytest.raises(ValueError, match="zero or not finite"):
        MemoryBank.from_embeddings(torch.cat([rows, torch.zeros(1, 16)]))


@pytest.mark.parametrize("name", sorted(set(SIMILARITIES) - {"mahalanobis"}))  # whose covariance would be singular
@pytest.mark.parametrize("scale", [1e-20, 1e-13])
def test_receipts_of_tiny_embeddings_add_up(name, scale):
    encoder = tiny_encoder(random_head("none"), dtype=torch.float32)
    with torch.no_grad():
        for parameter in encoder.network.parameters():
            parameter.mul_(scale)
    supports = {"a": images(2, seed=1, dtype=torch.float32), "b": images(2, seed=2, dtype=torch.float32)}
    found = explain(encoder, images(1, seed=3, dtype=torch.float32)[0], supports, method="contrast", similarity=name)
    assert float(found.residual) <= 1e-5 * float(found.absolute_sum)


@pytest.mark.parametrize("head", [name for name in HEADS if "l2" in name])
def test_a_normalizing_head_does_not_lose_short_vectors(head):
    encoder = tiny_encoder(random_head(head), dtype=torch.float64)
    with torch.no_grad():
        for parameter in encoder.network.parameters():
            parameter.mul_(1e-16)
    assert torch.isfinite(encoder(images(1, seed=3)).embedding).all()
