"""Maps against random weights and other references; the network is given back bit by bit."""

import pytest
import torch
from tiny_encoder import images, tiny_encoder
from torch import nn

from fsl_explain import Encoder, metrics


class Scale(nn.Module):
    """A layer with a weight and no reset_parameters."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, 1.5, 1.0]))

    def forward(self, pixels):
        return pixels * self.weight[:, None, None]


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        layers = [Scale(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)]
        made = nn.Sequential(*layers)
        made[2].running_mean.normal_()
        made[2].running_var.uniform_(0.5, 2)
    return made.eval()


def pixels():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def state(module):
    return [tensor.clone() for tensor in (*module.parameters(), *module.buffers())]


def assert_untouched(module, before, generator):
    assert all(torch.equal(a, b) for a, b in zip(state(module), before, strict=True))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in module.parameters())
    assert not module.training


def test_layers_become_random_from_the_output_down_and_stay_so():
    module = network()
    trained = state(module)
    changed = []

    def maps():
        changed.append([not torch.equal(a, b) for a, b in zip(state(module), trained, strict=True)])
        return module(pixels()).mean(dim=1)

    generator = torch.get_rng_state()
    found = metrics.cascading_weight_randomization(maps, module)
    assert found.layers == ("4", "2", "1", "0")
    assert found.similarity.shape == (4, 2)
    weights = [{"0": row[0], "1": row[1], "2": row[7], "4": row[5]} for row in changed]
    assert [[name for name in "4210" if row[name]] for row in weights] == [
        [],
        ["4"],
        ["4", "2"],
        ["4", "2", "1"],
        list("4210"),
    ]
    assert_untouched(module, trained, generator)


def test_maps_of_a_network_change_and_maps_of_pixels_do_not():
    module = network()
    of_network = metrics.weight_randomization(lambda: module(pixels()).mean(dim=1), module)
    of_pixels = metrics.weight_randomization(lambda: pixels().mean(dim=1), module)
    assert (of_network < 0.9).all()
    torch.testing.assert_close(of_pixels, torch.ones(2))


def test_all_at_once_is_the_last_step_of_no_cascade_but_its_own_draw():
    module, drawn = network(), []

    def maps():
        drawn.append(module[1].weight.detach().clone())
        return module(pixels()).mean(dim=1)

    metrics.weight_randomization(maps, module, seed=1)
    metrics.weight_randomization(maps, module, seed=1)
    metrics.weight_randomization(maps, module, seed=2)
    assert len(drawn) == 6
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[1], drawn[5])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("randomization", [metrics.weight_randomization, metrics.cascading_weight_randomization])
def test_the_network_is_given_back_after_an_error(randomization, error):
    module, calls = network(), []
    before, generator = state(module), torch.get_rng_state()

    def maps():
        calls.append(1)
        if len(calls) == 2:
            raise error("in the middle")
        return module(pixels()).mean(dim=1)

    with pytest.raises(error, match="in the middle"):
        randomization(maps, module)
    assert_untouched(module, before, generator)


def test_the_similarity_is_that_of_the_trained_and_the_random_maps():
    module, seen = network(), []

    def maps():
        return module(pixels()).mean(dim=1)

    def difference(trained, random):
        seen.append(trained)
        return (trained - random).abs().mean(dim=(1, 2))

    trained = maps().detach()
    found = metrics.weight_randomization(maps, module, similarity=difference)
    assert torch.equal(seen[0], trained)
    assert (found > 0).all()


def test_an_explanation_depends_on_the_weights():
    encoder = tiny_encoder()
    query = images(2, seed=1)

    def maps():
        return encoder(query).maps.mean(dim=1)

    assert (metrics.weight_randomization(maps, encoder.network).abs() < 0.99).all()
    assert isinstance(encoder, Encoder)


def test_random_weights_are_not_those_that_the_same_seed_built():
    built = Encoder.named("conv4net").network.eval()
    photographs = torch.rand(2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    weights = built.get_parameter("blocks.block1.conv.weight").detach().clone()
    drawn = []

    def maps():
        drawn.append(built.get_parameter("blocks.block1.conv.weight").detach().clone())
        return built(photographs).mean(dim=1)

    assert (metrics.weight_randomization(maps, built).abs() < 0.99).all()
    assert torch.equal(drawn[0], weights)
    assert not torch.equal(drawn[1], weights)


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"expected a network with weights, but ReLU has none; pass the network that"):
        metrics.weight_randomization(lambda: pixels()[:, 0], nn.ReLU())


def test_references_are_exchanged_and_nothing_else():
    query = torch.randn(3, 4, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    references, others = torch.eye(4, dtype=torch.float64)[:3], torch.eye(4, dtype=torch.float64)[1:]

    def channel_of(reference):
        return torch.einsum("bnhw,bn->bhw", query, reference)

    found = metrics.reference_randomization(channel_of, references, others)
    expected = metrics.map_correlation(query[range(3), range(3)], query[range(3), range(1, 4)])
    torch.testing.assert_close(found, expected)
    blind = metrics.reference_randomization(lambda reference: query.mean(dim=1), references, others)
    torch.testing.assert_close(blind, torch.ones(3, dtype=torch.float64))
