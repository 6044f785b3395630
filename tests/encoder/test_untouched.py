"""A network is given back as it was: modes, gradients, hooks and the random numbers."""

import pytest
import torch
from tiny_encoder import images, random_head, tiny_network
from torch import nn

from fsl_explain import Encoder, explain, saliency
from fsl_explain.backbones.capture import captured_activations, evaluating


class Failing(nn.Module):
    """Fails on the last layer, after the explained one has run."""

    def __init__(self):
        super().__init__()
        self.inner = tiny_network()

    def forward(self, batch):
        self.inner(batch)
        raise RuntimeError("the network fails")


def prepared(network):
    """Mixed modes, one frozen layer, and gradients from an earlier step."""
    network.train()
    first, *others = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    others[0].eval()
    for number, parameter in enumerate(network.parameters()):
        parameter.grad = torch.full_like(parameter, number)
    first.weight.requires_grad = False
    return network


def state(network):
    """Everything of a network that could have been changed."""
    modules = [
        (name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks))
        for name, module in network.named_modules()
    ]
    tensors = {name: value.clone() for name, value in network.state_dict().items()}
    gradients = {name: (p.requires_grad, p.grad.clone(), p.grad_fn) for name, p in network.named_parameters()}
    return modules, tensors, gradients, torch.get_rng_state()


def assert_same(before, after):
    assert after[0] == before[0]
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=0)
    for name, (required, gradient, function) in before[2].items():
        assert after[2][name][0] == required
        assert torch.equal(after[2][name][1], gradient)
        assert after[2][name][2] is function
    assert torch.equal(after[3], before[3])
    assert torch.is_grad_enabled()


def explained(encoder, method="exact"):
    return explain(encoder, images(2, dtype=torch.float32), images(2, 1, seed=1, dtype=torch.float32), method=method)


@pytest.mark.parametrize("method", ["fam", "exact", "contrast", "lafam"])
def test_after_an_explanation(method):
    network, head = prepared(tiny_network()), prepared_head()
    encoder = Encoder.wrap(network, "activation", head=head)
    before, before_head = state(network), [module.training for module in head.modules()]
    explained(encoder, method)
    assert_same(before, state(network))
    assert [module.training for module in head.modules()] == before_head


def prepared_head():
    head = random_head("linear-l2").train()
    head[0].eval()
    return head


@pytest.mark.parametrize("use", [explained, lambda encoder: saliency(encoder, images(1, dtype=torch.float32))])
def test_after_an_error_in_the_forward_pass(use):
    network = prepared(Failing())
    encoder = Encoder.wrap(network, "inner.activation")
    before = state(network)
    with pytest.raises(RuntimeError, match="the network fails"):
        use(encoder)
    assert_same(before, state(network))


def test_batch_normalization_and_dropout_are_at_rest_while_it_runs():
    network = tiny_network().train()
    seen = []
    network.dropout.register_forward_hook(lambda layer, _, __: seen.append((layer.training, torch.is_grad_enabled())))
    features = Encoder.wrap(network, "activation")(images(2, dtype=torch.float32))
    assert seen == [(False, False)]
    assert not features.maps.requires_grad
    assert not features.embedding.requires_grad
    assert torch.equal(network.norm.running_mean, torch.zeros(4))
    assert network.training


def test_a_head_is_at_rest_while_it_runs():
    head = nn.Sequential(random_head("batch-norm"), nn.Dropout(0.5)).train()
    encoder, batch = Encoder.wrap(tiny_network(), "activation", head=head), images(3, dtype=torch.float32)
    statistics = head[0].running_mean.clone()
    embedding = encoder(batch).embedding
    assert head.training
    assert torch.equal(head[0].running_mean, statistics)
    torch.testing.assert_close(embedding, head.eval()(encoder(batch).pooled).detach())


def test_a_frozen_network_is_explained():
    network = tiny_network().requires_grad_(False)
    assert explained(Encoder.wrap(network, "activation")).residual.max() < 1e-5
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("method", ["fam", "exact", "contrast", "lafam"])
def test_explanations_are_the_same_in_inference_mode(method):
    encoder = Encoder.wrap(tiny_network(), "activation", head=random_head("linear"))
    outside = explained(encoder, method)
    with torch.inference_mode():
        inside = explained(encoder, method)
        assert torch.is_inference_mode_enabled()
    torch.testing.assert_close(inside.saliency.clone(), outside.saliency)
    torch.testing.assert_close(inside.cells.clone(), outside.cells)


def test_gradients_may_be_asked_for_after_an_explanation():
    network = tiny_network()
    explained(Encoder.wrap(network, "activation"))
    network(images(2, dtype=torch.float32)).sum().backward()
    assert network.conv.weight.grad.abs().sum() > 0


def test_the_contexts_clean_up_after_an_error_inside_them():
    network = prepared(tiny_network())
    before = state(network)
    inside = []
    with pytest.raises(KeyError, match="inside"), captured_activations(network.norm), evaluating(network):
        fail_after(lambda: inside.extend([network.training, len(network.norm._forward_hooks)]))
    assert inside == [False, 1]
    assert_same(before, state(network))


def fail_after(look):
    look()
    raise KeyError("inside")


def test_other_hooks_on_the_layer_stay():
    network, calls = tiny_network(), []
    network.activation.register_forward_hook(lambda *_: calls.append(1))
    Encoder.wrap(network, "activation")(images(1, dtype=torch.float32))
    assert calls == [1]
    assert len(network.activation._forward_hooks) == 1
