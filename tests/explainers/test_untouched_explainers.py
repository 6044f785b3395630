"""Every explainer gives the user's model back as it was: after success, after an error, and after Ctrl-C."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from decision_parts import OPTIONS
from tiny_encoder import CHANNELS, OF_MAPS, images, random_head, tiny_network
from torch import nn

import fsl_explain
from fsl_explain import Encoder, explain, saliency
from fsl_explain.explainers.methods.class_logit import FORMULAS

WITHOUT_SUPPORTS = ["lafam", "eigen-cam", *FORMULAS]
FIRST = {"fam": "l2"}  # its head has to be linear
every_method = pytest.mark.parametrize("method", OF_MAPS)
every_method_without_supports = pytest.mark.parametrize("method", WITHOUT_SUPPORTS)


WAYS_OUT = {"error": RuntimeError, "Ctrl-C": KeyboardInterrupt}


class Probe(nn.Identity):
    """Hands on what it is given, but may raise on one of its calls."""

    def __init__(self, failure):
        super().__init__()
        self.failure, self.calls, self.fails_on = failure, 0, None

    def forward(self, values):
        self.calls += 1
        if self.calls == self.fails_on:
            raise self.failure
        return values


def prepared(failure=None, first="batch-norm"):
    """A network and a head of mixed modes, partly frozen, partly with gradients and with a hook of the user's own."""
    network, head = tiny_network().train(), nn.Sequential(random_head(first), nn.Linear(CHANNELS, 3)).train()
    network.conv.eval()
    network.conv.weight.requires_grad = False
    network.norm.weight.grad = torch.ones(4)
    network.norm.register_forward_hook(lambda *_: None)
    head[1].weight.grad = torch.ones(3, 4)
    probes = {"activation": Probe(failure), "classifier": Probe(failure), "head": Probe(failure)}
    network.activation = nn.Sequential(network.activation, probes["activation"])
    network.classifier = nn.Sequential(network.classifier, probes["classifier"])
    return network, head.append(probes["head"]), probes


def copied(tensor):
    return None if tensor is None else tensor.detach().clone()


def state(*modules):
    """Everything of modules, and of the process, that could have been changed."""
    found = []
    for module in modules:
        for name, part in module.named_modules():
            hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
            found.append((name, type(part), part.training, *(list(one) for one in hooks)))
        for name, value in module.named_parameters():
            found.append(
                (name, id(value), value.requires_grad, value.grad_fn, value.dtype, copied(value), copied(value.grad))
            )
        found += [(name, id(value), copied(value)) for name, value in module.named_buffers()]
    found.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()))
    found.append(("random numbers", torch.get_rng_state(), str(np.random.get_state())))  # noqa: NPY002
    return found


def assert_same(before, after):
    for one, other in zip(before, after, strict=True):
        for a, b in zip(one, other, strict=True):
            equal = torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b
            assert equal, one[0]


def explained(network, head, method):
    encoder = Encoder.wrap(network, "activation", head=head)
    queries, supports = images(2, dtype=torch.float32), images(2, 2, seed=1, dtype=torch.float32)
    return explain(encoder, queries, supports, method=method, **OPTIONS.get(method, {}))


def drawn(network, method):
    return saliency(Encoder.wrap(network, "activation"), images(2, dtype=torch.float32), method=method)


@every_method
def test_after_an_explanation(method):
    network, head, probes = prepared(first=FIRST.get(method, "batch-norm"))
    before = state(network, head)
    explained(network, head, method)
    assert all(probe.calls > 0 for probe in probes.values())
    assert_same(before, state(network, head))


@every_method_without_supports
def test_after_a_saliency_without_supports(method):
    network, _, _ = prepared()
    before = state(network)
    drawn(network, method)
    assert_same(before, state(network))


@pytest.mark.parametrize("failure", WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("where", ["head", "activation", "classifier"])
@every_method
def test_after_a_way_out_of_each_call(method, where, failure):
    """The first, the second, the third call of a module fails, until the explanation makes no so many."""
    for fails_on in (1, 2, 3):
        network, head, probes = prepared(failure("stop"), FIRST.get(method, "batch-norm"))
        probes[where].fails_on = fails_on
        before = state(network, head)
        if interrupted(lambda: explained(network, head, method), failure):  # noqa: B023 - called at once
            assert probes[where].calls == fails_on
            assert_same(before, state(network, head))
        else:
            assert probes[where].calls < fails_on
            return


def interrupted(function, failure):
    try:
        function()
    except failure:
        return True
    return False


@pytest.mark.parametrize("failure", WAYS_OUT.values(), ids=WAYS_OUT)
@pytest.mark.parametrize("where", ["activation", "classifier"])
@every_method_without_supports
def test_after_a_way_out_without_supports(method, where, failure):
    network, _, probes = prepared(failure("stop"))
    probes[where].fails_on = 1
    before = state(network)
    with pytest.raises(failure, match="stop"):
        drawn(network, method)
    assert_same(before, state(network))


def test_nothing_reads_the_random_numbers_of_python():
    """Their state says nothing here, because the checks of annotations under test draw from them."""
    sources = [path.read_text(encoding="utf-8") for path in Path(fsl_explain.__file__).parent.rglob("*.py")]
    assert len(sources) > 50
    assert not [text for text in sources if re.search(r"^\s*(import random\b|from random import)", text, re.MULTILINE)]


def test_a_change_would_be_seen():
    changes = {
        "mode": lambda network: network.norm.eval(),
        "gradient": lambda network: setattr(network.conv.bias, "grad", torch.zeros(4)),
        "value of a gradient": lambda network: network.norm.weight.grad.add_(1),
        "frozen": lambda network: network.conv.bias.requires_grad_(False),
        "hook": lambda network: network.conv.register_forward_hook(lambda *_: None),
        "buffer": lambda network: network.norm.running_mean.add_(1),
        "weight": lambda network: network.conv.weight.data.add_(1),
        "torch's random numbers": lambda _: torch.rand(1),
        "numpy's random numbers": lambda _: np.random.rand(1),  # noqa: NPY002
    }
    for make in changes.values():
        network, head, _ = prepared()
        before = state(network, head)
        make(network)
        with pytest.raises(AssertionError, match=r"\S"):
            assert_same(before, state(network, head))
