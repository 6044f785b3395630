"""In which type and on which device a network computes, and networks that are not plain modules of floats."""

import copy
import warnings

import pytest
import torch
from tiny_encoder import images, tiny_network
from torch import nn

from episodes.errors import Mistake
from fsl_explain import Encoder, explain
from fsl_explain.backbones.placement import deciding_tensor

BATCH = images(4, dtype=torch.float32)


class Body(nn.Module):
    """A body behind a parameter and a buffer of other types."""

    def __init__(self, body, first=None, beside=None):
        super().__init__()
        self.first, self.body = first, body
        self.register_buffer("beside", beside)

    def forward(self, batch):
        return self.body(batch)


class Doubled(nn.Module):
    """Computes without any parameter, in the type it is given."""

    def forward(self, batch):
        return 2 * batch


def counter():
    return nn.Parameter(torch.zeros(1, dtype=torch.long), requires_grad=False)


def frozen(value):
    return nn.Parameter(value, requires_grad=False)


BODIES = {
    "counter before float32": (lambda: Body(nn.Conv2d(3, 4, 2), counter()), torch.float32),
    "int8 weight before float32": (
        lambda: Body(nn.Conv2d(3, 4, 2), frozen(torch.zeros(4, 3, 2, 2, dtype=torch.int8))),
        torch.float32,
    ),
    "float32 scale before bfloat16": (
        lambda: Body(nn.Conv2d(3, 4, 2).bfloat16(), frozen(torch.ones(1))),
        torch.bfloat16,
    ),
    "bfloat16 scale before float64": (
        lambda: Body(nn.Conv2d(3, 4, 2).double(), frozen(torch.ones(1, dtype=torch.bfloat16))),
        torch.float64,
    ),
    "float32 positions before bfloat16": (
        lambda: Body(nn.Conv2d(3, 4, 2).bfloat16(), frozen(torch.ones(1, 4, 3))),
        torch.bfloat16,
    ),
    "norm in float32 inside of bfloat16": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 2).bfloat16(), nn.ReLU(), nn.BatchNorm2d(4).float()),
        torch.bfloat16,
    ),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 2).double()), torch.float64),
    "normalization alone": (lambda: nn.BatchNorm2d(3).double(), torch.float64),
    "buffers alone": (lambda: Body(Doubled(), beside=torch.ones(1).double()), torch.float64),
    "an integer buffer alone": (lambda: Body(Doubled(), beside=torch.ones(1).long()), None),
    "nothing": (Doubled, None),
}


@pytest.mark.parametrize("name", BODIES)
def test_images_take_the_type_that_the_network_computes_in(name):
    made, expected = BODIES[name]
    network = made().eval()
    decides = deciding_tensor(network)
    assert (None if decides is None else decides.dtype) == expected
    maps = Encoder(network)(BATCH).maps
    assert maps.dtype == (torch.float64 if expected == torch.float64 else torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(maps, network(BATCH.to(expected or BATCH.dtype)).to(maps.dtype))


def test_without_any_float_images_stay_as_they_are():
    assert Encoder(Doubled())(BATCH.double()).maps.dtype == torch.float64


@pytest.mark.filterwarnings("ignore")  # PyTorch says that this kind of quantization is old
@pytest.mark.parametrize("layer", [None, "1", "2"])
def test_an_int8_network_is_explained(layer):
    quantization = torch.ao.quantization
    network = nn.Sequential(quantization.QuantStub(), nn.Conv2d(3, 4, 2), nn.ReLU(), quantization.DeQuantStub()).eval()
    network.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    prepared = quantization.prepare(network)
    prepared(BATCH)
    int8 = quantization.convert(prepared)
    encoder = Encoder(int8) if layer is None else Encoder.wrap(int8, layer)
    with torch.no_grad():
        plain = network[1](BATCH) if layer == "1" else network(BATCH)
    torch.testing.assert_close(encoder(BATCH).maps, plain, atol=0.05, rtol=0)
    assert explain(encoder, BATCH[0], {"a": BATCH[1:2], "b": BATCH[2:]}).residual < 1e-5


class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)

    def forward(self, batch):
        return self.norm(self.conv(batch)).relu()


SCRIPTED = {
    "script": torch.jit.script,
    "trace": lambda network: torch.jit.trace(network, BATCH),
    "frozen": lambda network: torch.jit.freeze(torch.jit.script(network)),
}


@pytest.mark.filterwarnings("ignore")  # PyTorch says that TorchScript is old
@pytest.mark.parametrize("kind", SCRIPTED)
def test_torchscript_is_explained_by_the_maps_that_it_returns(kind):
    network = Maps().eval()
    expected = Encoder(network)(BATCH).maps
    scripted = SCRIPTED[kind](network)
    encoder = Encoder(scripted)
    torch.testing.assert_close(encoder(BATCH).maps, expected)
    torch.testing.assert_close(copy.deepcopy(encoder)(BATCH).maps, expected)
    assert explain(encoder, BATCH[0], {"a": BATCH[1:2], "b": BATCH[2:]}, method="occlusion").saliency.shape == (6, 8)
    with pytest.raises(Mistake, match="expected a network in Python for 'folded', but got TorchScript; use inference"):
        Encoder(scripted, inference="folded")
    if kind != "frozen":
        with pytest.raises(Mistake, match=r"expected a layer .* but got one inside of TorchScript.*wrap the network"):
            Encoder.wrap(scripted, "conv")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", SCRIPTED)
def test_a_layer_in_python_behind_a_scripted_part_is_explained(kind):
    network = Maps().eval()
    whole = nn.Sequential(SCRIPTED[kind](network), nn.Sigmoid())
    torch.testing.assert_close(Encoder.wrap(whole, "1")(BATCH).maps, Encoder(network)(BATCH).maps.sigmoid())


def test_batch_normalization_without_running_statistics_is_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU())
    sentence = r"1 of Sequential has none and uses those of each batch, so that an embedding depends on the images"
    with pytest.warns(UserWarning, match=sentence):
        encoder = Encoder.wrap(network, "2")
    assert not torch.allclose(encoder(BATCH).embedding[0], encoder(BATCH[:1]).embedding[0])
    network.append(nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.warns(UserWarning, match="but 1 and 1 more of Sequential has none"):
        Encoder(network)


def test_a_head_whose_normalization_mixes_the_batch_is_named():
    with pytest.warns(UserWarning, match="but BatchNorm1d of TinyNetwork has none"):
        Encoder.wrap(tiny_network(), "activation", head=nn.BatchNorm1d(4, track_running_stats=False))


def test_normalization_of_single_images_is_no_mixing():
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.BatchNorm2d(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Encoder(network)
