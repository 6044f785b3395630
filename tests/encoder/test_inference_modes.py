"""Encoders in the modes folded and bf16: the same maps up to rounding, and the user's network left alone."""

import copy

import pytest
import torch
from tiny_encoder import images, random_head, tiny_network
from torch import nn

from fsl_explain import Encoder, explain, saliency
from fsl_explain.backbones import inference_modes
from fsl_explain.backbones.inference_modes import INFERENCE_MODES, for_inference
from fsl_explain.config import EncoderConfig, TrainingConfig


def with_statistics(network, seed=0):
    """Give batch normalization gains, offsets and running statistics that do something."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            count = module.num_features
            module.running_mean.copy_(torch.randn(count, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(count, generator=generator) + 0.5)
            if module.affine:
                with torch.no_grad():
                    module.weight.copy_(torch.rand(count, generator=generator) + 0.5)
                    module.bias.copy_(torch.randn(count, generator=generator) * 0.3)
    return network


def normalizations(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def moved(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


NAMES = {
    "conv4net": (84, 0),
    "efficientnet-lite0": (96, 0),
    "torchvision:resnet18": (64, 0),
    "torchvision:shufflenet_v2_x0_5": (64, 0),
}


@pytest.mark.parametrize(("name", "size", "left"), [(name, *rest) for name, rest in NAMES.items()], ids=NAMES)
def test_networks_by_name_give_the_same_maps_without_batch_normalization(name, size, left):
    if name == "efficientnet-lite0":
        pytest.importorskip("efficientnet_lite_pytorch")
    eager = Encoder.named(name)
    if name.startswith("torchvision"):
        with_statistics(eager.network)
    layer = [known for known, module in eager.network.named_modules() if module is eager.layer]
    batch = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = eager(batch)
    state = copy.deepcopy(eager.network.state_dict())
    for mode, tolerance in {"folded": 1e-5, "bf16": 0.1, "fp16": 0.01}.items():
        network, chosen = for_inference(eager.network, eager.layer, mode)
        assert normalizations(network) == left < normalizations(eager.network)
        found = Encoder(network, layer=chosen, inference=mode)(batch)
        assert found.maps.dtype == found.embedding.dtype == torch.float32
        assert 0 < moved(found.maps, expected.maps) < tolerance
        assert 0 < moved(found.embedding, expected.embedding) < tolerance
        assert [known for known, module in network.named_modules() if module is chosen] == layer
    torch.testing.assert_close(eager.network.state_dict(), state, rtol=0, atol=0)


def test_the_networks_dtype_and_layout_are_those_of_the_mode():
    for mode, dtype in {
        "eager": torch.float32,
        "folded": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }.items():
        encoder = Encoder.named("conv4net", channels=8, inference=mode)
        weight = encoder.network.blocks.block1.conv.weight
        assert weight.dtype == dtype
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert encoder.inference == mode
        expected = "random weights, seed 0" + ("" if mode == "eager" else f", {mode}")
        assert encoder.description == f"conv4net ({expected})"


@pytest.mark.parametrize("mode", ["folded", "bf16", "fp16"])
def test_the_users_network_stays_as_it_is(mode):
    network = with_statistics(tiny_network()).train()
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    before = {name: (id(value), value.clone()) for name, value in network.state_dict(keep_vars=True).items()}
    modules = [(name, id(module), module.training) for name, module in network.named_modules()]
    random = torch.get_rng_state()
    encoder = Encoder.wrap(network, "activation", inference=mode)
    saliency(encoder, images(2, dtype=torch.float32), method="grad-cam")
    assert encoder.network is not network
    assert [(name, id(module), module.training) for name, module in network.named_modules()] == modules
    for name, value in network.state_dict(keep_vars=True).items():
        assert id(value) == before[name][0]
        assert torch.equal(value, before[name][1])
    assert network.conv.weight.requires_grad
    assert torch.equal(network.conv.weight.grad, torch.ones_like(network.conv.weight))
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(parameter.requires_grad for parameter in encoder.network.parameters())


def test_eager_is_the_network_itself():
    network = tiny_network()
    assert Encoder.wrap(network, "activation").network is network


@pytest.mark.parametrize("method", ["exact", "fam", "grad-cam", "layercam"])
@pytest.mark.parametrize("layer", ["conv", "norm", "activation"])
def test_explanations_are_those_of_the_network(method, layer):
    network, head = with_statistics(tiny_network()).double(), random_head("linear").double()
    eager, folded = (Encoder.wrap(network, layer, head=head, inference=mode) for mode in ("eager", "folded"))
    query, supports = images(2, seed=1), images(3, 2, seed=2)
    expected = explain(eager, query, supports, method=method)
    found = explain(folded, query, supports, method=method)
    torch.testing.assert_close(found.cells, expected.cells, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.contributions, expected.contributions, rtol=1e-9, atol=1e-9)
    assert normalizations(folded.network) == (1 if layer == "conv" else 0)


@pytest.mark.parametrize("mode", ["folded", "bf16", "fp16"])
def test_class_logits_are_those_of_the_network(mode):
    network, batch = with_statistics(tiny_network()), images(3, seed=1, dtype=torch.float32)
    eager, other = Encoder.wrap(network, "norm"), Encoder.wrap(network, "norm", inference=mode)
    expected, found = (saliency(encoder, batch, method="grad-cam", target=1) for encoder in (eager, other))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if mode == "folded" else 0.1)
    assert found.dtype == torch.float32


def test_numbers_beyond_those_of_fp16_are_refused():
    network = with_statistics(tiny_network())
    with torch.no_grad():
        network.conv.weight.mul_(4000)
    network.norm.running_var.fill_(1.0)
    encoder = Encoder.wrap(network, "activation", inference="fp16")
    with pytest.raises(ValueError, match=r"numbers stay below 65,504 for inference='fp16', but it gave NaN or inf"):
        encoder(100 * images(2, dtype=torch.float32))
    assert Encoder.wrap(network, "activation", inference="bf16")(images(2, dtype=torch.float32)).maps.isfinite().all()
    network.norm.running_var.fill_(1e-4)
    with pytest.raises(
        ValueError, match=r"weights of at most 65,504 for inference='fp16', but conv.weight, with batch"
    ):
        Encoder.wrap(network, "activation", inference="fp16")


def test_tokens_beyond_the_numbers_of_fp16_are_refused():
    encoder = Encoder.named("demo-vit", inference="fp16")
    side = encoder.image_size
    assert encoder(torch.zeros(1, 3, side, side)).embedding.isfinite().all()
    with pytest.raises(ValueError, match=r"but it gave NaN or infinity; use inference='bf16' or 'folded'"):
        encoder(torch.full((1, 3, side, side), 60000.0))


def test_folding_twice_changes_nothing_more():
    once = Encoder.wrap(with_statistics(tiny_network()), "activation", inference="folded")
    twice = Encoder(once.network, layer=once.layer, inference="folded")
    batch = images(2, dtype=torch.float32)
    assert torch.equal(twice(batch).maps, once(batch).maps)


def test_a_configuration_chooses_the_mode():
    for mode in INFERENCE_MODES:
        config = EncoderConfig(inference=mode, architecture={"channels": 2})
        assert Encoder.from_config(config).inference == mode
    with pytest.raises(LookupError, match=r"unknown inference 'fold'; did you mean 'folded'"):
        Encoder.wrap(tiny_network(), "activation", inference="fold")
    with pytest.raises(ValueError, match=r"inference"):
        EncoderConfig(inference="fold")


def test_training_takes_the_network_itself():
    settings = {"data": {"kind": "digit-scenes"}, "output": "weights.safetensors"}
    with pytest.raises(ValueError, match=r"training needs encoder.inference 'eager', but got 'folded'; drop it"):
        TrainingConfig.model_validate(settings | {"encoder": {"inference": "folded"}})
    for said in ({}, {"encoder": {"inference": "auto"}}, {"encoder": {"inference": "eager"}}):
        assert TrainingConfig.model_validate(settings | said).encoder.inference == "eager"
    assert (
        set(INFERENCE_MODES) == {"eager", "folded", "bf16", "fp16", "compiled"} == set(inference_modes.INFERENCE_MODES)
    )
