"""A fingerprint tells encoders apart, and does not change with the process or the layout of the memory."""

import pytest
import torch
from tiny_encoder import HEADS, tiny_encoder, tiny_network
from torch import nn
from torchvision.transforms import v2

from episodes import direct_resize
from fsl_explain import Encoder
from fsl_explain.heads import L2Normalize, LogSumExpPooling
from retrieval_explain.store.encoder_fingerprint import described, fingerprint, preprocessing_text


class Doubled(nn.Module):
    """A pooling of the user's own, whose text holds its place in memory."""

    __repr__ = object.__repr__

    def forward(self, maps):
        return 2 * maps.mean(dim=(-2, -1))

    def shares(self, maps):
        return maps

    def spread(self, maps, _weights):
        return maps


def changed(change):
    encoder = tiny_encoder(nn.Linear(4, 3))
    with torch.no_grad():
        change(encoder)
    return encoder


def test_every_part_of_an_encoder_counts():
    torch.manual_seed(0)
    head = nn.Linear(4, 3)
    marks = {
        "plain": fingerprint(tiny_encoder()),
        "maximum": fingerprint(tiny_encoder(pooling="gmp")),
        "soft": fingerprint(tiny_encoder(pooling=LogSumExpPooling(3.0))),
        "softer": fingerprint(tiny_encoder(pooling=LogSumExpPooling(2.0))),
        "own pooling": fingerprint(tiny_encoder(pooling=Doubled())),
        "head": fingerprint(tiny_encoder(head)),
        "head without weights": fingerprint(tiny_encoder(L2Normalize())),
        "dtype": fingerprint(tiny_encoder(dtype=torch.float32)),
        "layer": fingerprint(Encoder.wrap(tiny_network().double(), "norm")),
        "weights": fingerprint(Encoder.wrap(tiny_network(seed=1).double(), "activation")),
        "statistics": fingerprint(changed(lambda encoder: encoder.network.norm.running_mean.add_(1))),
    }
    assert len(set(marks.values())) == len(marks), marks
    assert all(len(mark) == 12 for mark in marks.values())


@pytest.mark.parametrize("head", HEADS)
def test_the_same_encoder_has_the_same_fingerprint(head):
    torch.manual_seed(0)
    made = HEADS[head](4)
    first, second = tiny_encoder(made), tiny_encoder(made)
    second.network.to(memory_format=torch.channels_last)
    second.network.train()
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(tiny_encoder(pooling=Doubled())) == fingerprint(tiny_encoder(pooling=Doubled()))


def test_the_fingerprint_is_the_same_in_every_process():
    encoder = tiny_encoder(dtype=torch.float32)
    with torch.no_grad():
        for number, parameter in enumerate(encoder.network.parameters()):
            parameter.fill_(number)
    assert described(encoder) == "TinyNetwork #46f740ceb796"


def test_the_preprocessing_is_told_step_by_step():
    text = preprocessing_text(tiny_encoder(preprocess=direct_resize(84, [0.5] * 3, [0.25] * 3)))
    assert text.startswith("ToImage(), Resize(size=[84, 84]")
    assert text.endswith("Normalize(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25], inplace=False)")
    nested = v2.Compose([v2.Compose([v2.Resize(9)]), v2.CenterCrop(8)])
    assert preprocessing_text(tiny_encoder(preprocess=nested)).count("Compose") == 0
    assert "at 0x" not in preprocessing_text(tiny_encoder(preprocess=lambda image: image))
