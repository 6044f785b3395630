"""``inference="auto"``: the folded network where it gives the same, and the network itself everywhere else."""

import pytest
import torch
from tiny_encoder import images, tiny_network
from torch import nn

from episodes import DigitScenes
from fsl_explain import Encoder
from fsl_explain.backbones import equal_form
from fsl_explain.backbones.equal_form import EQUAL, in_form
from fsl_explain.config import EncoderConfig, TrainingConfig
from fsl_explain.training import train


def lively():
    """A network that ends in maps, and whose batch normalization does something."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.5))
    network[1].running_mean, network[1].running_var = torch.linspace(-1, 1, 4), torch.linspace(0.5, 2, 4)
    return network


def wrapped(network, layer=None):
    return Encoder.wrap(network, layer, inference="auto", layout="channels-first")


def normalizations(network):
    return sum(isinstance(one, nn.BatchNorm2d) for one in network.modules())


class Failing(nn.Module):
    """Takes images of one width alone, which is not that of the preprocessing."""

    def __init__(self):
        super().__init__()
        self.inner = lively()

    def forward(self, batch):
        if batch.shape[-1] != 8:
            raise RuntimeError("of 8 pixels alone")
        return self.inner(batch)


class Deciding(nn.Module):
    """Its maps are those of a convolution and a normalization, which it doubles where both are still apart."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.apart = True

    def forward(self, batch):
        found = self.inner(batch)
        return found * 2 if normalizations(self) else found


@pytest.mark.parametrize("name", ["conv4net", "resnet12", "torchvision:resnet18"])
def test_a_named_network_is_folded(name):
    auto, itself = (Encoder.named(name, inference=mode) for mode in ("auto", "eager"))
    assert auto.inference == "folded"
    assert auto.description == f"{itself.description.removesuffix(')')}, folded)"
    batch = torch.randn(2, 3, auto.image_size, auto.image_size, generator=torch.Generator().manual_seed(0))
    found, expected = auto(batch), itself(batch)
    for one, other in ((found.maps, expected.maps), (found.embedding, expected.embedding)):
        assert 0 < (one - other).norm() < EQUAL * other.norm()
    assert normalizations(auto.network) < normalizations(itself.network)


@pytest.mark.parametrize("name", ["conv4net", "resnet12"])
def test_folding_is_as_near_to_double_precision_as_the_network_itself(name):
    """So nobody can say which of the two rounds better: the reason for calling them equal."""
    forms = {mode: Encoder.named(name, inference=mode) for mode in ("eager", "folded")}
    exact = Encoder(Encoder.named(name).network.double(), pooling=forms["eager"].pooling)
    batch = torch.randn(4, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    expected = exact(batch.double()).maps
    lost = {mode: float((encoder(batch).maps.double() - expected).norm()) for mode, encoder in forms.items()}
    assert 0 < lost["folded"] < 1.5 * lost["eager"]
    assert lost["eager"] < EQUAL * expected.norm()


def test_a_network_of_the_users_is_folded_and_left_as_it_is():
    network = tiny_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    encoder = wrapped(network, "activation")
    assert encoder.inference == "folded"
    assert encoder.network is not network
    assert network.training
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    batch = images(2, dtype=torch.float32)
    torch.testing.assert_close(encoder(batch).maps, Encoder.wrap(network, "activation")(batch).maps)


def test_a_network_in_double_precision_sees_the_picture_in_it():
    encoder = wrapped(lively().double())
    assert encoder.inference == "folded"
    assert encoder(images(2)).maps.dtype == torch.float64


def half():
    return lively().to(torch.bfloat16)


def scripted():
    return torch.jit.script(lively().eval())


def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("network", [half, scripted, plain, Failing, lambda: Deciding(lively())])
def test_where_it_is_not_equal_the_network_itself_runs(network):
    made = network()
    encoder = wrapped(made)
    assert encoder.inference == "eager"
    assert encoder.network is made
    assert encoder.layer is None
    batch = images(2, dtype=torch.float32)
    with torch.no_grad():
        expected = made.eval()(batch.to(next(made.parameters()).dtype)).float()
    torch.testing.assert_close(encoder(batch).maps, expected)


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_layer_of_torchscript_is_refused_as_in_every_form():
    network = nn.Sequential(torch.jit.script(lively().eval()), nn.ReLU())
    for mode in ("auto", "eager"):
        with pytest.raises(ValueError, match="one inside of TorchScript, whose output cannot be read"):
            Encoder.wrap(network, network[0], inference=mode)


def test_a_network_that_mixes_the_images_of_a_batch_is_not_folded():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
    network.append(nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.warns(UserWarning, match="expected batch normalization with running statistics") as told:
        encoder = wrapped(network)
    assert encoder.inference == "eager"
    assert len(told) == 1


def test_what_the_layer_gives_is_compared_too(monkeypatch):
    """The maps of an earlier layer may differ where the outputs do not, as behind a ReLU."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    network[1].bias.data.fill_(-100.0)  # so that the output is 0
    real = equal_form.for_inference

    def shifted(*given):
        folded, layer = real(*given)
        folded[0].bias.data.add_(1.0)
        return folded, layer

    monkeypatch.setattr(equal_form, "for_inference", shifted)
    assert in_form(network, network[1], "auto", lambda: images(1, dtype=torch.float32))[0] == "eager"
    assert in_form(network, None, "auto", lambda: images(1, dtype=torch.float32))[0] == "folded"


def test_a_configuration_folds_only_what_is_frozen():
    config = EncoderConfig(architecture={"channels": 4})
    assert config.inference == "auto"
    assert config.as_written.inference == "eager"
    assert Encoder.from_config(config).inference == "eager"
    assert Encoder.from_config(config, frozen=True).inference == "folded"
    for mode in ("eager", "folded", "bf16"):
        said = EncoderConfig(architecture={"channels": 4}, inference=mode)
        assert said.as_written is said
        assert {Encoder.from_config(said, frozen=frozen).inference for frozen in (True, False)} == {mode}


def test_a_copy_is_not_trained():
    settings = TrainingConfig.model_validate({"data": {"kind": "digit-scenes"}, "output": "weights.safetensors"})
    encoder = Encoder.named("conv4net", channels=4, inference="folded")
    with pytest.raises(ValueError, match=r"this encoder runs a copy, folded; make it with inference='eager'"):
        train(encoder, DigitScenes("base", per_class=4, size=84), settings)
