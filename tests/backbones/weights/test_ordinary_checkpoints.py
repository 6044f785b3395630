"""Checkpoints as people's trainings write them: below any key and prefix, with any classifier or none, of two."""

from functools import cache

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from fsl_explain import Encoder
from fsl_explain.backbones.conversion import convert
from fsl_explain.explainers.methods.class_logit import class_logit_map

NAME = "torchvision:squeezenet1_1"
RESNET = "torchvision:resnet18"


@cache
def state(seed=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return models.squeezenet1_1().state_dict()


def below(prefix, values):
    return {f"{prefix}{name}": value for name, value in values.items()}


FORMS = {
    "DataParallel": lambda s: below("module.", s),
    "compiled": lambda s: {"model": below("_orig_mod.", s)},
    "compiled and distributed": lambda s: below("module._orig_mod.", s),
    "Lightning": lambda s: {"state_dict": below("model.net.", s), "epoch": 3, "hyper_parameters": {"lr": 0.1}},
    "beside a loss": lambda s: below("encoder.", s) | {"loss.weights": torch.ones(3), "queue": torch.ones(2, 2)},
    "beside a projector": lambda s: below("backbone.", s) | below("projector.", {"0.weight": torch.ones(3, 512)}),
    "averaged": lambda s: below("module.", s) | {"n_averaged": torch.tensor(5)},
    "with an optimizer": lambda s: {"network": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}},
    "nested": lambda s: {"checkpoint": {"params": {"weights": s}}, "epoch": 1},
    "any key": lambda s: {"whatever": s},
    "twice the same": lambda s: {"model": s, "best": {name: value.clone() for name, value in s.items()}},
    "with a step": lambda s: s | {"epoch": 3},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_training_loads_from_below_any_key_and_prefix(tmp_path, form):
    torch.save(FORMS[form](state()), tmp_path / "last.pth.tar")
    encoder = Encoder.named(NAME, tail="ignore", checkpoint=tmp_path / "last.pth.tar")
    assert all(torch.equal(value, state()[name]) for name, value in encoder.network.state_dict().items())
    assert ("its '" in encoder.description) == (form != "with a step")


def test_safetensors_too(tmp_path):
    save_file(below("module.", state()), tmp_path / "weights.safetensors")
    found = Encoder.named(NAME, tail="ignore", checkpoint=tmp_path / "weights.safetensors").network.state_dict()
    assert all(torch.equal(value, state()[name]) for name, value in found.items())


TWO = {
    "keys": (lambda a, b: {"student": below("backbone.", a), "teacher": below("backbone.", b)}, "teacher.backbone"),
    "prefixes": (lambda a, b: below("encoder_q.", a) | below("encoder_k.", b), "encoder_k"),
    "an average": (lambda a, b: {"state_dict": a, "state_dict_ema": b}, "state_dict_ema"),
    "beside itself": (lambda a, b: a | below("ema.", b), "ema"),
}


@pytest.mark.parametrize("kind", TWO)
def test_of_two_networks_one_is_asked_for_by_name(tmp_path, kind):
    make, part = TWO[kind]
    path = tmp_path / "two.pt"
    torch.save(make(state(1), state(2)), path)
    with pytest.raises(ValueError, match=rf"one network in .*'{part}' fit and differ; say which with part="):
        Encoder.named(NAME, tail="ignore", checkpoint=path)
    found = Encoder.named(NAME, tail="ignore", checkpoint=path, part=part)
    assert torch.equal(found.network.state_dict()["features.0.weight"], state(2)["features.0.weight"])
    with pytest.raises(ValueError, match=r"a part of .* that fits, .*, but got 'nobody'; choose"):
        Encoder.named(NAME, tail="ignore", checkpoint=path, part="nobody")
    convert(path, NAME, tmp_path / "one.safetensors", part=part)
    again = Encoder.named(NAME, tail="ignore", checkpoint=tmp_path / "one.safetensors")
    assert torch.equal(again.network.state_dict()["features.0.weight"], state(2)["features.0.weight"])


CLASSIFIERS = {
    "200 classes": lambda s: (
        s | {"classifier.1.weight": torch.ones(200, 512, 1, 1), "classifier.1.bias": torch.ones(200)}
    ),
    "none": lambda s: {name: value for name, value in s.items() if not name.startswith("classifier")},
    "another": lambda s: (
        {n: v for n, v in s.items() if "classifier" not in n} | below("head.", {"weight": torch.ones(7, 512)})
    ),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_a_classifier_of_another_size_or_none_is_left_out_and_said(tmp_path, classifier, prefix):
    torch.save(below(prefix, CLASSIFIERS[classifier](state())), tmp_path / "tuned.pt")
    encoder = Encoder.named(NAME, tail="ignore", checkpoint=tmp_path / "tuned.pt")
    assert torch.equal(
        encoder.network.state_dict()["features.12.expand3x3.bias"], state()["features.12.expand3x3.bias"]
    )
    assert "without classifier.1" in encoder.description
    with pytest.raises(ValueError, match=r"a classifier with weights, but .* holds none for classifier.1.weight; use"):
        class_logit_map(encoder, torch.rand(1, 3, 64, 64))
    with pytest.raises(ValueError, match=r"lacks those behind the explained layer, first classifier.1.weight"):
        convert(tmp_path / "tuned.pt", NAME, tmp_path / "out.safetensors")


TOO_LITTLE = {
    "one missing": (lambda s: {n: v for n, v in s.items() if n != "features.0.bias"}, r"1 missing \(features.0.bias\)"),
    "a classifier alone": (lambda s: {n: v for n, v in s.items() if "classifier" in n}, r"50 missing"),
    "more of the trunk": (
        lambda s: s | {"features.99.weight": torch.ones(2, 2)},
        r"1 unexpected \(.*features.99.weight",
    ),
    "another shape": (lambda s: s | {"features.0.bias": torch.ones(3)}, r"expected features.0.bias.* of shape \(64,\)"),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("what", TOO_LITTLE)
def test_what_fills_too_little_is_refused(tmp_path, what, prefix):
    change, sentence = TOO_LITTLE[what]
    torch.save(below(prefix, change(state())), tmp_path / "less.pt")
    with pytest.raises(ValueError, match=sentence):
        Encoder.named(NAME, tail="ignore", checkpoint=tmp_path / "less.pt")


def test_a_deeper_network_is_not_taken_for_this_one(tmp_path):
    torch.save(models.resnet34().state_dict(), tmp_path / "deeper.pt")
    with pytest.raises(ValueError, match=r"0 missing, .* unexpected \(layer1.2.conv1.weight"):
        Encoder.named(RESNET, checkpoint=tmp_path / "deeper.pt")


def test_few_shot_networks_of_ours_too(tmp_path):
    network = Encoder.named("conv4net", channels=3, seed=4).network
    content = below("module.encoder.", network.state_dict()) | {"module.fc.weight": torch.ones(5, 3)}
    torch.save({"params": content}, tmp_path / "few.pth")
    found = Encoder.named("conv4net", channels=3, checkpoint=tmp_path / "few.pth").network.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in network.state_dict().items())
