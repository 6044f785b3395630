"""Which batch normalizations are folded into the convolution before them, and which stay."""

import pytest
import torch
import torch.nn.functional as F
from tiny_encoder import images
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from fsl_explain import Encoder
from fsl_explain.backbones.inference_modes import for_inference


def lively(norm):
    """Batch normalization with statistics that do something."""
    count = norm.num_features
    if norm.running_mean is not None:
        norm.running_mean, norm.running_var = torch.linspace(-1, 1, count), torch.linspace(0.5, 2, count)
    if norm.affine:
        norm.weight.data, norm.bias.data = torch.linspace(0.4, 1.6, count), torch.linspace(1, -1, count)
    return norm


def conv(into=4, kind=nn.Conv2d, **options):
    return kind(3 if into == 4 else 4, into, 2, **options)


class Branching(nn.Module):
    """Runs its parts by a function of its own."""

    def __init__(self, forward, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = forward

    def forward(self, batch):
        return self.function(self, batch)


class Standardized(nn.Conv2d):
    """A convolution that changes its weights on the way, so that folding into them would be wrong."""

    def forward(self, batch):
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return F.conv2d(batch, weight / weight.std(), self.bias)


class Rectified(nn.BatchNorm2d):
    """A batch normalization that does more than normalize."""

    def forward(self, batch):
        return super().forward(batch).relu()


class Padding(nn.Conv2d):
    """A convolution that pads its input itself."""

    def forward(self, batch):
        return super().forward(F.pad(batch, (0, 1, 0, 1)))


class Distrusting(nn.Module):
    """Refuses to be traced."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        if float(batch.sum()) > 1e9:
            return batch
        return self.inner(batch)


def sequence(*layers):
    return nn.Sequential(*layers)


def in_turn(self, batch):
    return self.norm(self.conv(batch)).relu()


FOLDED = {
    "a sequence": lambda: sequence(conv(), lively(nn.BatchNorm2d(4)), nn.ReLU()),
    "without bias": lambda: sequence(conv(bias=False), lively(nn.BatchNorm2d(4))),
    "without gain": lambda: sequence(conv(), lively(nn.BatchNorm2d(4, affine=False))),
    "grouped and strided": lambda: sequence(
        conv(), nn.ReLU(), conv(8, groups=2, stride=2, dilation=2, padding=1), lively(nn.BatchNorm2d(8))
    ),
    "a function": lambda: Branching(in_turn, conv=conv(), norm=lively(nn.BatchNorm2d(4))),
    "a convolution that pads": lambda: sequence(conv(kind=Padding), lively(nn.BatchNorm2d(4))),
    "what cannot be traced as a whole": lambda: Distrusting(sequence(conv(), lively(nn.BatchNorm2d(4)))),
    "modules out of order": lambda: Branching(in_turn, norm=lively(nn.BatchNorm2d(4)), conv=conv()),
}


def read_twice(self, batch):
    maps = self.conv(batch)
    return self.norm(maps) + maps


def run_twice(self, batch):
    return self.norm(self.conv(batch)) + self.norm(self.other(batch))


def convolved_twice(self, batch):
    return self.norm(self.conv(batch)) + self.conv(batch + 1)


def hooked():
    network = sequence(conv(), lively(nn.BatchNorm2d(4)))
    network[0].register_forward_hook(lambda *_: None)
    return network


LEFT = {
    "normalization first": lambda: sequence(lively(nn.BatchNorm2d(3)), conv(), nn.ReLU()),
    "a rectifier between": lambda: sequence(conv(), nn.ReLU(), lively(nn.BatchNorm2d(4))),
    "maps that are read elsewhere": lambda: Branching(read_twice, conv=conv(), norm=lively(nn.BatchNorm2d(4))),
    "one normalization of two": lambda: Branching(run_twice, conv=conv(), other=conv(), norm=lively(nn.BatchNorm2d(4))),
    "one convolution for two": lambda: Branching(convolved_twice, conv=conv(), norm=lively(nn.BatchNorm2d(4))),
    "standardized weights": lambda: sequence(conv(kind=Standardized), lively(nn.BatchNorm2d(4))),
    "a rectifying normalization": lambda: sequence(conv(), lively(Rectified(4))),
    "weights made of others": lambda: sequence(weight_norm(conv()), lively(nn.BatchNorm2d(4))),
    "statistics of the batch": lambda: sequence(conv(), lively(nn.BatchNorm2d(4, track_running_stats=False))),
    "a hook of the user's": hooked,
}


def count(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def both(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build().eval()
    folded, _ = for_inference(network, None, "folded")
    batch = images(2, dtype=torch.float32)
    torch.testing.assert_close(Encoder(folded)(batch).maps, Encoder(network)(batch).maps, rtol=1e-4, atol=1e-5)
    return folded


@pytest.mark.parametrize("build", FOLDED.values(), ids=FOLDED)
def test_is_folded_and_gives_the_same(build):
    assert count(both(build)) == 0


@pytest.mark.filterwarnings("ignore:expected batch normalization with running statistics:UserWarning")
@pytest.mark.parametrize("build", LEFT.values(), ids=LEFT)
def test_is_left_as_it_is(build):
    assert count(both(build)) == 1


def test_a_module_under_two_names_is_replaced_under_both():
    def forward(self, batch):
        return self.alias(self.conv(batch))

    norm = lively(nn.BatchNorm2d(4))
    folded = both(lambda: Branching(forward, conv=conv(), norm=norm, alias=norm))
    assert count(folded) == 0
    assert folded.norm is folded.alias


class Inside(nn.Module):
    """The explained layer ends with a convolution whose normalization stands outside of it."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = sequence(conv(), nn.ReLU(), conv(8)), lively(nn.BatchNorm2d(8))

    def forward(self, batch):
        return self.norm(self.layer(batch))


def test_what_the_explained_layer_returns_is_kept():
    network, batch = Inside().eval(), images(2, dtype=torch.float32)
    expected = Encoder.wrap(network, "layer")(batch).maps
    folded = Encoder.wrap(network, "layer", inference="folded")
    torch.testing.assert_close(folded(batch).maps, expected, rtol=1e-5, atol=1e-6)
    assert count(folded.network) == 1
    assert count(Encoder.wrap(network, "norm", inference="folded").network) == 0


def test_a_normalization_that_is_the_layer_still_gives_its_maps():
    network, batch = sequence(conv(), lively(nn.BatchNorm2d(4)), nn.ReLU(inplace=True)), images(2, dtype=torch.float32)
    expected = Encoder.wrap(network, "1")(batch).maps
    found = Encoder.wrap(network, "1", inference="folded")(batch).maps
    assert found.min() < 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
