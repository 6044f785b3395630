import pytest
import torch
from embedding_strategies import assert_equal, quarters
from hypothesis import assume, given
from tiny_encoder import CHANNELS, HEADS, random_head
from torch import nn

from fsl_explain.heads import linearize

every_head = pytest.mark.parametrize("name", HEADS)


def head_of(name):
    return (random_head(name) or nn.Identity()).double()


def forward(linearization, values):
    """G v + b of every stage in turn, which at v = z has to be the head."""
    for stage in linearization.stages:
        values = stage.forward(values)
    return values


@every_head
@given(pooled=quarters(2, CHANNELS))
def test_the_frozen_head_gives_what_the_head_gives(name, pooled):
    assume((pooled.norm(dim=-1) > 0).all())
    head = head_of(name)
    assert_equal(forward(linearize(head, pooled), pooled), head(pooled).detach(), 1e-12)


@every_head
@given(pooled=quarters(2, CHANNELS), gradient=quarters(2, 6))
def test_pulling_back_is_the_transpose(name, pooled, gradient):
    """g · head(z) = (Gᵀ g) · z + g · b."""
    assume((pooled.norm(dim=-1) > 0).all())
    head = head_of(name)
    embedding = head(pooled).detach()
    gradient = gradient[:, : embedding.shape[-1]]
    frozen = linearize(head, pooled)
    total = (frozen.pull_back(gradient) * pooled).sum(dim=-1) + (gradient * frozen.offset).sum(dim=-1)
    assert_equal(total, (gradient * embedding).sum(dim=-1), 1e-11)


@every_head
def test_gains_are_those_of_each_image(name):
    """A batch is linearized at each of its images, not at one of them."""
    head = head_of(name)
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(3, 2, CHANNELS, generator=generator, dtype=torch.float64)
    gradient = torch.randn(*head(pooled.flatten(0, 1)).shape, generator=generator, dtype=torch.float64).unflatten(
        0, (3, 2)
    )
    together = linearize(head, pooled)
    for i in range(3):
        alone = linearize(head, pooled[i])
        assert_equal(together.pull_back(gradient)[i], alone.pull_back(gradient[i]))
        assert_equal(together.offset[i], alone.offset)


@pytest.mark.parametrize("name", ["mlp", "leaky-mlp", "leaky", "batch-norm", "linear"])
def test_piecewise_linear_heads_have_their_own_gradient(name):
    head = head_of(name)
    pooled = torch.randn(2, CHANNELS, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    embedding = head(pooled)
    gradient = torch.arange(embedding.numel(), dtype=torch.float64).reshape(embedding.shape) - 2
    (expected,) = torch.autograd.grad((embedding * gradient).sum(), pooled)
    assert_equal(linearize(head, pooled.detach()).pull_back(gradient), expected)


@pytest.mark.parametrize("name", ["none", "linear-without-bias", "l2", "leaky"])
def test_heads_without_a_bias_have_no_offset(name):
    assert not linearize(head_of(name), torch.ones(2, CHANNELS, dtype=torch.float64)).offset.any()


def test_a_bias_in_front_of_a_normalization_is_scaled_with_it():
    """z' = (z W + b)/‖z W + b‖: the offset is b over the same norm."""
    head = head_of("linear-l2")
    pooled = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    offset = head[0].bias.detach() / head[0](pooled).norm().detach()
    assert_equal(linearize(head, pooled).offset, offset[None])


def test_weights_in_single_precision_explain_values_in_double():
    head = random_head("leaky-mlp").float()
    pooled = torch.ones(1, CHANNELS, dtype=torch.float64)
    frozen = linearize(head, pooled)
    assert frozen.offset.dtype == torch.float64
    assert_equal(forward(frozen, pooled), head.double()(pooled).detach())
