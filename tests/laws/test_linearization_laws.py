import pytest
import torch
from embedding_strategies import assert_equal, quarters
from hypothesis import assume, given
from tiny_encoder import CHANNELS, HEADS, random_head
from torch import nn

from fsl_explain.heads import POOLINGS, linearize

SMOOTH = {
    "gelu": nn.GELU(),
    "gelu-tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(inplace=True),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(beta=2),
    "elu": nn.ELU(0.5, inplace=True),
    "hardswish": nn.Hardswish(inplace=True),
}
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
@given(pooled=quarters(2, CHANNELS), gradient=quarters(2, 6))
def test_what_is_found_while_pulling_back_is_the_offset_along_the_gradient(name, pooled, gradient):
    assume((pooled.norm(dim=-1) > 0).all())
    frozen = linearize(head_of(name), pooled)
    gradient = gradient[:, : frozen.offset.shape[-1]]
    pulled, constant = frozen.pull_with_bias(gradient)
    assert_equal(pulled, frozen.pull_back(gradient))
    assert_equal(constant, (gradient * frozen.offset).sum(dim=-1), 1e-11)


def test_a_known_value_spares_the_layers_before_it():
    """The gains are those at the known value; what would have given it is not applied, nor what no gain depends on."""
    first, activation, last = nn.Linear(3, 4).double(), nn.GELU(), nn.Linear(4, 2).double()
    ran = []
    for layer in (first, last):
        layer.register_forward_hook(lambda *_: ran.append(True))
    pooled, known = torch.ones(1, 3, dtype=torch.float64), torch.tensor([[-2.0, -1.0, 1.0, 2.0]], dtype=torch.float64)
    frozen = linearize(nn.Sequential(first, activation, last), pooled, {activation: known})
    gradient = torch.ones(1, 2, dtype=torch.float64)
    with torch.no_grad():
        expected = (gradient @ last.weight * activation(known) / known) @ first.weight
    assert_equal(frozen.pull_back(gradient), expected, 1e-12)
    assert not ran


@every_head
@given(values=quarters(2, 3, CHANNELS), pooled=quarters(2, CHANNELS), gradient=quarters(2, 6))
def test_pushing_forward_is_the_transpose_of_pulling_back(name, values, pooled, gradient):
    """⟨G v, g⟩ = ⟨v, Gᵀ g⟩ for every cell's vector v."""
    assume((pooled.norm(dim=-1) > 0).all())
    frozen = linearize(head_of(name), pooled)
    pushed = frozen.push_forward(values)
    gradient = gradient[:, : pushed.shape[-1]]
    expected = (values * frozen.pull_back(gradient)[:, None]).sum(dim=-1)
    assert_equal((pushed * gradient[:, None]).sum(dim=-1), expected, 1e-11)


@every_head
@pytest.mark.parametrize("pooling", [name for name in POOLINGS if name != "flatten"])
def test_pushed_shares_of_the_cells_sum_with_the_offset_to_the_embedding(pooling, name):
    maps = torch.randn(5, 3, CHANNELS, 2, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    pooled, shares = POOLINGS[pooling](maps), POOLINGS[pooling].shares(maps).flatten(start_dim=-2).mT
    head = head_of(name)
    frozen = linearize(head, pooled)
    expected = head(pooled.flatten(0, 1)).detach().unflatten(0, (5, 3))
    assert_equal(frozen.push_forward(shares).sum(dim=-2) + frozen.offset, expected)


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


@pytest.mark.parametrize("name", ["mlp", "leaky-mlp", "leaky", "prelu-mlp", "simclr", "batch-norm", "linear"])
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


def ladder(dtype):
    """Values of both signs from 0 to 1e3, close to each other where the secant gives way to the slope."""
    sizes = torch.cat([torch.zeros(1), torch.logspace(-30, 3, 2000)]).to(dtype)
    return torch.cat([-sizes.flip(0), sizes])[:, None]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_a_smooth_activation_is_reproduced_to_rounding(name, dtype):
    values = ladder(dtype)
    frozen = linearize(SMOOTH[name], values)
    expected = SMOOTH[name](values.clone())
    torch.testing.assert_close(
        forward(frozen, values), expected, rtol=8 * torch.finfo(dtype).eps, atol=torch.finfo(dtype).eps
    )
    assert torch.equal(values, ladder(dtype))


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gain_of_a_smooth_activation_at_zero_is_its_slope(name):
    """From the right at the kink of an ELU, as for a leaky ReLU's values above 0."""
    at_zero = torch.zeros(1, 1, dtype=torch.float64)
    near = torch.full_like(at_zero, 1e-12).requires_grad_()
    (slope,) = torch.autograd.grad(SMOOTH[name](near * 1).sum(), near)
    assert_equal(linearize(SMOOTH[name], at_zero).pull_back(torch.ones_like(at_zero)), slope, 1e-7)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_offset_of_a_smooth_activation_is_its_value_at_zero(name):
    values = torch.tensor([[-2.0, 0.0, 1.0]], dtype=torch.float64)
    expected = SMOOTH[name](torch.zeros_like(values))
    assert_equal(linearize(SMOOTH[name], values).offset, expected, 0.0)


def test_a_layer_normalization_takes_the_mean_from_every_cell():
    """Channels that are equal in every cell add nothing: their mean is all they hold."""
    head = head_of("layer-norm")
    pooled = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    even = torch.full((1, 2, CHANNELS), 7.0, dtype=torch.float64)
    frozen = linearize(head, pooled)
    assert_equal(frozen.push_forward(even), torch.zeros_like(even))
    assert_equal(frozen.offset, head.bias.detach()[None])


def test_centering_speaks_through_the_offset_alone():
    head = head_of("center-l2")
    pooled = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    norm = (pooled - head[0].mean).norm()
    frozen = linearize(head, pooled)
    assert_equal(frozen.offset, -head[0].mean[None] / norm)
    assert_equal(frozen.push_forward(pooled[:, None]), pooled[:, None] / norm)


def test_weights_in_double_precision_keep_values_in_single():
    pooled = torch.ones(1, CHANNELS)
    for name in HEADS:
        frozen = linearize(head_of(name), pooled)
        assert frozen.offset.dtype == torch.float32, name
        assert frozen.push_forward(pooled[:, None]).dtype == torch.float32, name
