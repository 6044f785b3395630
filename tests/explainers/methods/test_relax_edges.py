"""What RELAX refuses, what it leaves alone, and the memory it needs."""

import gc
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder, tiny_network
from torch import nn
from unchecked import loaded_without_shape_checks

from fsl_explain import (
    Encoder,
    IntegratedGradientsOptions,
    OcclusionOptions,
    RelaxOptions,
    SmoothGradOptions,
    relax,
    saliency,
)
from fsl_explain.explainers.methods.mask_statistics import correlation, mask_sums


def weighted_sums(values, masks):
    """R and U by two passes over exactly representable numbers."""
    weight = masks.sum(dim=0)
    mean = (values[:, None, None] * masks).sum(dim=0) / weight
    return mean, ((values[:, None, None] - mean).square() * masks).sum(dim=0)


def test_a_small_spread_round_a_large_value_survives():
    """Sums of m, m s and m s² in float32 are off by more than the spread itself here."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(400, 3, 5, generator=generator, dtype=torch.float64)
    values = 0.75 + 1e-5 * torch.randn(400, generator=generator, dtype=torch.float64)
    mean, spread = weighted_sums(values, masks)
    for center in (1.0, 0.75):
        found = mask_sums(values[:, None], masks, center)
        torch.testing.assert_close(found.mean[0], mean)
        torch.testing.assert_close(found.spread[0], spread, rtol=1e-4, atol=0)
    m, s = masks.float(), values.float()[:, None, None]
    naive = (m * s * s).sum(0) - (m * s).sum(0).square() / m.sum(0)
    assert (naive.double() / spread - 1).abs().max() > 0.1


def test_sums_of_parts_in_any_order_are_those_of_the_whole():
    generator = torch.Generator().manual_seed(0)
    masks, values = torch.rand(9, 3, 5, generator=generator), torch.rand(9, 2, generator=generator)
    whole = mask_sums(values, masks, 1.0)
    order = torch.randperm(9, generator=generator)
    parts = [mask_sums(values[part], masks[part], 1.0) for part in (order[:4], order[4:5], order[5:])]
    joined = parts[2] + parts[0] + parts[1]
    for name in ("weight", "mean", "spread"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name))


def test_a_constant_map_correlates_with_nothing():
    rising = torch.arange(6.0).double().reshape(1, 2, 3)
    assert correlation(rising, 1 - 2 * rising).tolist() == pytest.approx([-1])
    assert correlation(rising, torch.full((1, 2, 3), 0.1, dtype=torch.float64)).isnan().all()


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"masks": 0}, ValueError, "RELAX needs masks of at least 1, but got 0; raise it"),
        ({"grid": 0}, ValueError, "RELAX needs grid of at least 1, but got 0"),
        ({"batch_size": 0}, ValueError, "RELAX needs batch_size of at least 1, but got 0"),
        ({"seed": -1}, ValueError, "RELAX needs a seed of at least 0, but got -1"),
        ({"keep": 0.0}, ValueError, r"keep probability above 0 and up to 1, but got 0\.0"),
        ({"keep": 1.5}, ValueError, r"keep probability above 0 and up to 1, but got 1\.5"),
        ({"until_stable": 95.0}, ValueError, r"a correlation of at most 1, but until_stable is 95\.0, which no map"),
        ({"until_stable": float("nan")}, ValueError, "but until_stable is nan"),
        ({"variant": "oficial"}, LookupError, "unknown variant of RELAX 'oficial'; did you mean 'official'"),
    ],
    ids=str,
)
def test_options_that_make_no_masks_are_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        RelaxOptions(**options)


def test_images_smaller_than_half_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"images of more than 6 pixels a side for masks of a 13×13 grid, but got 6"):
        relax(tiny_encoder(), images(seed=1), options=RelaxOptions(grid=13))


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_an_embedding_without_a_direction_is_refused(bad):
    head = nn.Linear(4, 2).double()
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, bad)
    with pytest.raises(ValueError, match="an image has a zero or infinite embedding, which has no cosine similarity"):
        relax(tiny_encoder(head), images(2, seed=1), options=RelaxOptions(masks=4))


def test_options_and_targets_of_other_methods_are_refused():
    with pytest.raises(ValueError, match="options are those of relax and u-relax, but method is 'lafam'; drop options"):
        saliency(tiny_encoder(), images(seed=1), method="lafam", options=RelaxOptions())
    with pytest.raises(ValueError, match="relax explains no class, but got a target; drop target"):
        saliency(tiny_encoder(), images(seed=1), method="relax", target=1)


class Interrupted(nn.Module):
    """Counts its forward passes and ends one of them with an error."""

    def __init__(self, fail_at, error):
        super().__init__()
        self.inner, self.fail_at, self.error, self.passes = tiny_network(), fail_at, error, 0

    def forward(self, batch):
        self.passes += 1
        if self.passes == self.fail_at:
            raise self.error("in the middle")
        return self.inner(batch)


@pytest.mark.parametrize(
    ("fail_at", "error"), [(None, None), (1, RuntimeError), (4, RuntimeError), (4, KeyboardInterrupt)], ids=str
)
def test_the_network_and_all_random_numbers_are_left_alone(fail_at, error):
    network = Interrupted(fail_at, error).train()
    encoder = Encoder.wrap(network, "inner.activation", head=random_head("linear"))
    network.inner.norm.eval()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with nullcontext() if error is None else pytest.raises(error, match="in the middle"):
        relax(encoder, images(2, seed=1, dtype=torch.float32), options=RelaxOptions(masks=40, batch_size=8))
    assert (network.passes == fail_at) == (fail_at is not None)
    assert [module.training for module in (network, network.inner.norm, network.inner.conv)] == [True, False, True]
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def live_bytes():
    tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def test_memory_does_not_grow_with_the_number_of_masks():
    """What is alive during the last forward pass is what is alive during the second, bar less than one mask."""
    encoder, image, seen = tiny_encoder(), images(1, seed=1), []
    passes = iter(range(10_000))
    watched = {2, 40, 255}

    def look(*_):
        if next(passes) in watched:
            seen.append(live_bytes())

    handle = encoder.network.register_forward_pre_hook(look)
    relax(encoder, image, options=RelaxOptions(masks=16 * 256, batch_size=16))
    handle.remove()
    assert len(seen) == 3
    assert max(seen) - min(seen) < 6 * 8 * 8


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (RelaxOptions, "masks"),
        (RelaxOptions, "seed"),
        (OcclusionOptions, "window"),
        (SmoothGradOptions, "samples"),
        (SmoothGradOptions, "seed"),
        (IntegratedGradientsOptions, "steps"),
    ],
    ids=str,
)
def test_a_number_of_things_is_whole(options, name):
    unchecked = getattr(loaded_without_shape_checks(options.__module__), options.__name__)
    assert getattr(unchecked(**{name: np.int64(64)}), name) == 64
    with pytest.raises(TypeError, match=rf"^expected {name} as a whole number, but got 64\.5\.$"):
        unchecked(**{name: 64.5})


def test_options_are_those_of_relax():
    with pytest.raises(TypeError, match=r"^expected RelaxOptions\(\.\.\.\) as options, but got OcclusionOptions\.$"):
        loaded_without_shape_checks("fsl_explain.explainers.methods.relax").relax(
            tiny_encoder(), images(seed=1), options=OcclusionOptions()
        )
