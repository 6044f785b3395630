"""What a network goes on to do with the explained maps is said once where it is not what is compared, else never."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from tiny_encoder import images, tiny_network
from torch import nn

from fsl_explain import Encoder
from fsl_explain.backbones.tail import TailWarning


class Ended(nn.Module):
    """Maps, and a function of them and of a linear layer as the output."""

    def __init__(self, end):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, 2)
        self.linear = nn.Linear(4, 5)
        self.end = end

    def forward(self, batch):
        return self.end(self.linear, self.conv(batch))


def pooled(maps):
    return maps.mean(dim=(2, 3))


QUIET = {
    "the maps": lambda _, maps: maps,
    "the pooled maps": lambda _, maps: pooled(maps),
    "the pooled maps with places": lambda _, maps: pooled(maps)[..., None, None],
    "a classifier": lambda linear, maps: linear(pooled(maps)),
    "its logarithms": lambda linear, maps: linear(pooled(maps)).log_softmax(1),
    "its probabilities": lambda linear, maps: (100 * linear(pooled(maps))).softmax(1),
    "maps and a classifier": lambda linear, maps: {"maps": maps, "logits": linear(pooled(maps))},
    "a tuple": lambda linear, maps: (linear(pooled(maps)), pooled(maps)),
}
LOUD = {
    "rectified maps": lambda _, maps: maps.relu(),
    "another pooling": lambda _, maps: maps.amax(dim=(2, 3)),
    "a flattening": lambda _, maps: maps.flatten(1),
    "rectified before the classifier": lambda linear, maps: linear(pooled(maps.relu())),
    "maximum before the classifier": lambda linear, maps: linear(maps.amax(dim=(2, 3))),
    "a head to norm 1": lambda linear, maps: F.normalize(linear(pooled(maps))),
    "normalized": lambda _, maps: F.normalize(pooled(maps)) * 7,
    "two layers": lambda linear, maps: linear(linear(pooled(maps)).relu()[:, :4]),
    "a dictionary": lambda linear, maps: {"embedding": F.normalize(linear(pooled(maps)))},
    "no tensor": lambda _, maps: "done",
}


def warned(encoder, count=2):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(count):
            encoder(images(2, dtype=torch.float32))
    return [str(one.message) for one in told if one.category is TailWarning]


@pytest.mark.parametrize("end", QUIET)
def test_what_is_compared_is_what_the_network_decides_by(end):
    assert warned(Encoder.wrap(Ended(QUIET[end]), "conv")) == []


@pytest.mark.parametrize("end", LOUD)
def test_what_is_not_is_said_once(end):
    network = Ended(LOUD[end])
    (sentence,) = warned(Encoder.wrap(network, "conv"))
    assert "embedding of shape (2, 4) that is compared" in sentence
    out = network(images(2, dtype=torch.float32))
    assert not isinstance(out, torch.Tensor) or f"output of shape {tuple(out.shape)}" in sentence
    assert "give that part as head=..., or tail='ignore'" in sentence


@pytest.mark.parametrize("answer", [{"head": nn.Linear(4, 2)}, {"tail": "ignore"}], ids=["head", "tail"])
@pytest.mark.parametrize("end", LOUD)
def test_a_head_or_the_word_answers_it(end, answer):
    assert warned(Encoder.wrap(Ended(LOUD[end]), "conv", **answer)) == []


def test_another_pooling_before_the_same_classifier_is_the_users_choice():
    assert warned(Encoder.wrap(tiny_network(), "activation", pooling="gmp")) == []
    assert len(warned(Encoder.wrap(tiny_network(), "conv"))) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_is_no_tail(dtype):
    assert warned(Encoder.wrap(tiny_network().to(dtype), "activation")) == []


def test_no_images_tell_nothing():
    encoder = Encoder.wrap(Ended(LOUD["a flattening"]), "conv")
    assert len(encoder(images(0, dtype=torch.float32)).embedding) == 0
    assert len(warned(encoder)) == 1


def test_the_hooks_are_gone_and_an_unknown_tail_is_refused():
    network = tiny_network()
    Encoder.wrap(network, "conv", tail="ignore")(images(2, dtype=torch.float32))
    with pytest.warns(TailWarning):
        Encoder.wrap(network, "conv")(images(2, dtype=torch.float32))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    with pytest.raises(LookupError, match="unknown tail 'ignored'; did you mean 'ignore'"):
        Encoder.wrap(network, "conv", tail="ignored")
