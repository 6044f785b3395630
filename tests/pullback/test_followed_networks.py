"""What is followed back, what is refused and how, and that networks are given back as they were."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fsl_explain import Encoder, explain, saliency
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.pullback import detail as reading
from fsl_explain.pullback.rules import Epsilon, Gamma, SharedGamma
from tests.pullback.followed_networks import BLOCKS, network
from tests.pullback.test_finer_laws import encoder_of, images, misses, question


@pytest.mark.parametrize("kind", list(BLOCKS))
def test_the_network_is_given_back_as_it_was(kind):
    net = network(kind).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()]
    query, supports = question()
    explain(Encoder.wrap(net, layer="block", tail="ignore"), query, supports, detail=1, biases="apart")
    assert all(module.training for module in net.modules())
    assert hooks == [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()]
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(value.grad is None for value in net.parameters())


@pytest.mark.parametrize("inference", ["folded", "bf16"])
def test_other_forms_of_the_network(inference):
    net, (query, supports) = network("residual").float(), question()
    encoder = Encoder.wrap(net, layer="block", tail="ignore", inference=inference)
    for biases in ("drawn", "apart"):
        found = explain(encoder, query.float(), supports.float(), detail=1, biases=biases, pullback="gamma")
        assert misses(found) < 1e-5


@pytest.mark.parametrize("kind", ["convolutions", "residual"])
def test_batch_normalization_is_one_layer_with_its_convolution(kind):
    query, supports = question()
    options = {"method": "contrast", "detail": 1, "pullback": "gamma", "biases": "apart"}
    own, folded = (
        explain(Encoder.wrap(network(kind), layer="block", tail="ignore", inference=one), query, supports, **options)
        for one in ("eager", "folded")
    )
    torch.testing.assert_close(own.cells, folded.cells)


def test_half_precision_adds_up_though_the_forward_pass_was_rounded():
    net, (query, supports) = network("gated").to(torch.bfloat16), question()
    encoder = Encoder.wrap(net, layer="block", tail="ignore")
    found = explain(encoder, query.float(), supports.float(), detail=1)
    assert misses(found) < 1e-5


@pytest.mark.parametrize("biases", ["drawn", "apart"])
def test_kept_values_and_a_second_forward_pass_give_the_same(monkeypatch, biases):
    encoder, (query, supports) = encoder_of("dense"), question()
    kept = explain(encoder, query, supports, method="contrast", detail=1, biases=biases)
    monkeypatch.setattr(reading, "KEPT_BYTES", 0)
    monkeypatch.setattr("fsl_explain.pullback.finer_maps.BYTES_TOGETHER", 1)
    again = explain(encoder, query, supports, method="contrast", detail=1, biases=biases)
    torch.testing.assert_close(kept.cells, again.cells)
    torch.testing.assert_close(kept.support_cells, again.support_cells)
    torch.testing.assert_close(kept.contributions, again.contributions)


def test_values_that_were_kept_are_dropped_where_a_batch_of_images_would_take_too_much(monkeypatch):
    encoder = encoder_of("dense").with_detail(1)
    each = encoder(images(1)).finer.manner.bytes_each
    monkeypatch.setattr(reading, "KEPT_BYTES", 3 * each)
    assert encoder(images(3)).finer.values
    assert not encoder(images(4)).finer.values


def test_one_query_of_a_batch_and_a_batch_of_one_are_the_same():
    encoder, (query, supports) = encoder_of("gated"), question()
    batch = explain(encoder, query, supports, method="contrast", detail=1)
    for number in range(2):
        one = explain(encoder, query[number], supports, method="contrast", detail=1)
        torch.testing.assert_close(one.cells, batch[number].cells)


def test_features_may_be_given_for_the_supports():
    encoder, (query, supports) = encoder_of("residual"), question()
    finer = encoder.with_detail(1)
    features = finer(supports.flatten(0, 1)).unflatten(3, 2)
    from_images, from_features = (explain(encoder, query, given, detail=1) for given in (supports, features))
    torch.testing.assert_close(from_images.support_cells, from_features.support_cells)


def test_explanations_with_finer_maps_are_saved_and_copied(tmp_path):
    encoder, (query, supports) = encoder_of("residual"), question()
    found = explain(encoder, query[0], supports, method="contrast", detail=1, biases="apart")
    found.save(tmp_path / "one.safetensors")
    for again in (found.load(tmp_path / "one.safetensors"), pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert torch.equal(again.cells, found.cells)
        assert again.named.keys() == found.named.keys()
        assert str(again.receipt()) == str(found.receipt())


def test_a_tail_of_the_network_itself_is_drawn_finer_too():
    net = nn.Sequential(network("residual"), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4), nn.Tanh()).double()
    encoder, (query, supports) = Encoder.wrap(net, layer="0", tail="network"), question()
    plain, finer = (explain(encoder, query, supports, method="contrast", detail=detail) for detail in (0, 1))
    torch.testing.assert_close(plain.cells.sum(dim=(-2, -1)), finer.cells.sum(dim=(-2, -1)))
    with pytest.raises(ValueError, match=r"biases='apart' needs embeddings that are sums over cells"):
        explain(encoder, query, supports, detail=1, biases="apart")


@pytest.mark.parametrize("detail", [0, 1])
def test_options_of_the_pull_back_that_are_not_there_are_refused_with_any_detail(detail):
    encoder = Encoder.wrap(network("residual"), layer="block", tail="ignore")
    with pytest.raises(LookupError, match="drawn, apart"):
        encoder.with_detail(detail, "x")
    with pytest.raises(LookupError, match="gamma"):
        encoder.with_detail(detail, "drawn", "x")


class Sorted(nn.Module):
    """Does what cannot be followed."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.sort(dim=1).values


def test_what_cannot_be_followed_is_refused_with_the_name_of_its_module():
    net = nn.Sequential(network("convolutions"), Sorted()).double()
    encoder, (query, supports) = Encoder.wrap(net, tail="ignore"), question()
    explain(encoder, query, supports)
    with pytest.raises(ValueError, match=r"relevance comes to sort of the module 1 \(Sorted\), which it cannot pass"):
        explain(encoder, query, supports, detail=1)


class Overwriting(nn.Module):
    """Writes into a part of maps that others read."""

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps + 0
        maps[:, :2].relu_()
        return maps


def test_maps_that_are_overwritten_in_part_are_refused():
    net = nn.Sequential(network("convolutions"), Overwriting()).double()
    query, supports = question()
    with pytest.raises(ValueError, match=r"relevance comes to relu_ of the module 1 \(Overwriting\)"):
        explain(Encoder.wrap(net, tail="ignore"), query, supports, detail=1)


def test_a_detail_may_be_of_any_integer_type(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)  # as outside of tests
    wanted = encoder_of("convolutions").with_detail(np.int64(2)).detail.wanted
    assert (wanted.words, type(wanted.detail)) == ("detail 2, biases drawn", int)
    with pytest.raises(ValueError, match=r"expected detail as a whole number, how often .* but got 1\.5"):
        encoder_of("convolutions").with_detail(1.5)


def test_a_detail_beyond_the_pixels_is_refused():
    encoder, (query, supports) = encoder_of("convolutions"), question()
    with pytest.raises(ValueError, match=r"expected a detail of at most 2 for maps of 4×4 cells of images of 16×16"):
        explain(encoder, query, supports, detail=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detail": -1}, "expected detail as a whole number"),
        ({"detail": True}, "expected detail as a whole number"),
        ({"detail": 1, "biases": "appart"}, "apart"),
        ({"detail": 1, "pullback": "gama"}, "gamma"),
    ],
)
def test_options_that_are_not_there(options, message):
    encoder, (query, supports) = encoder_of("convolutions"), question()
    with pytest.raises((ValueError, LookupError), match=message):
        explain(encoder, query, supports, **options)


@pytest.mark.parametrize(
    "rule",
    [
        *(lambda: Gamma(-1.0), lambda: Gamma(1.0, 0.0), lambda: SharedGamma(0.0), lambda: Epsilon(0.0)),
        *(lambda: Gamma(math.inf), lambda: Gamma(1.0, math.inf), lambda: Gamma(math.nan)),
        *(lambda: SharedGamma(math.inf), lambda: Epsilon(math.inf)),
    ],
)
def test_rules_with_settings_that_have_no_meaning(rule):
    with pytest.raises(ValueError, match=r"expected a? ?finite"):
        rule()


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_draws_finer_or_says_that_it_does_not(name):
    encoder, (query, supports) = encoder_of("convolutions"), question()
    options = {"threshold": 0.1} if name == "verification" else {}
    if METHODS[name].draws_finer:
        assert explain(encoder, query, supports, method=name, detail=1, **options).cells.shape[-2:] == (8, 8)
    else:
        with pytest.raises(ValueError, match=r"detail draws the cells of exact, .* finer"):
            explain(encoder, query, supports, method=name, detail=1, **options)


def test_a_map_without_supports():
    encoder = encoder_of("convolutions")
    coarse, fine = (saliency(one, images(2), method="lafam") for one in (encoder, encoder.with_detail(1)))
    assert coarse.shape == fine.shape
    assert not torch.allclose(coarse, fine)
    assert torch.equal(saliency(encoder.with_detail(1).with_detail(0), images(2)), coarse)
