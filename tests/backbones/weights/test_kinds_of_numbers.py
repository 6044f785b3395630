"""A tensor of another kind of number is no weight, and a counter is taken only where it stays what it is."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from episodes.errors import Mistake
from fsl_explain.backbones.weights.loading import load_weights

COUNTER = "1.num_batches_tracked"


def network():
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))


def changed(name, value):
    return {**network().state_dict(), name: value}


@pytest.fixture(params=["weights.pt", "weights.safetensors"])
def load(request, tmp_path):
    def write_and_load(state):
        path = tmp_path / request.param
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        built = network()
        before = {name: value.clone() for name, value in built.state_dict().items()}
        try:
            load_weights(built, path)
        except Mistake:
            assert all(torch.equal(before[name], value) for name, value in built.state_dict().items())
            raise
        return built.state_dict()

    return write_and_load


@pytest.mark.parametrize("kind", [torch.complex64, torch.bool, torch.int64, torch.uint8])
@pytest.mark.parametrize("name", ["0.weight", "1.running_var"])
def test_weights_are_floating_point_numbers(load, name, kind):
    with pytest.raises(Mistake, match=rf"expected {name} of floating-point numbers, but .* holds {kind}; use"):
        load(changed(name, network().state_dict()[name].to(kind)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_taken(load, kind):
    value = torch.full((2,), 0.5, dtype=kind)
    assert torch.equal(load(changed("0.bias", value))["0.bias"], torch.full((2,), 0.5))


@pytest.mark.parametrize("value", [3 + 2j, 3 + 0j, 2.5, 1e30])
def test_a_counter_that_would_become_another_number_is_refused(load, value):
    with pytest.raises(
        Mistake, match=rf"expected {COUNTER} of torch.int64, but .* holds other numbers, of torch\.\w+;"
    ):
        load(changed(COUNTER, torch.tensor(value)))


@pytest.mark.parametrize("value", [torch.tensor(3.0), torch.tensor(3, dtype=torch.int32)])
def test_a_counter_that_stays_what_it_is_is_taken(load, value):
    assert load(changed(COUNTER, value))[COUNTER] == 3


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_are_finite(load, value):
    with pytest.raises(Mistake, match=r"expected finite weights, but 1 NaN or infinite \(0.bias\)"):
        load(changed("0.bias", torch.tensor([0.0, value])))
