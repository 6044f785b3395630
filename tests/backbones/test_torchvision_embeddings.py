"""What is compared of a torchvision network is what its own last linear layer reads, or a sentence says that not."""

import warnings

import pytest
import torch
from torch import nn
from torchvision import models

from fsl_explain import Encoder, explain
from fsl_explain.backbones.tail import TailWarning
from fsl_explain.config import HeadConfig

EQUAL = {
    "resnet18": 64,
    "resnext50_32x4d": 32,
    "regnet_y_400mf": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 32,
    "mobilenet_v2": 64,
    "googlenet": 64,
    "inception_v3": 128,
    "mnasnet0_5": 64,
    "shufflenet_v2_x0_5": 64,
    "convnext_tiny": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "mobilenet_v3_small": 64,
    "maxvit_t": 224,
    "vit_b_32": 224,
    "vgg11": 32,
    "alexnet": 64,
}
REFUSED = {
    "squeezenet1_1": r"of maps, .*, give shape .*, and no linear layer behind them",
}


def built(name, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The default weight initialization")
        return Encoder.named(f"torchvision:{name}", **options)


def penultimate(network, images):
    """Return what the last linear layer that runs reads."""
    read = []
    hooks = [
        module.register_forward_pre_hook(lambda _, args: read.append(args[0]))
        for module in network.modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()
    return read[-1]


@pytest.mark.parametrize("name", EQUAL)
def test_the_embedding_is_the_networks_own(name):
    encoder = built(name)
    with torch.no_grad():
        for values in (*encoder.network.parameters(), *encoder.head.parameters()):
            values.add_(0.01 * torch.randn(values.shape, generator=torch.Generator().manual_seed(1)))
    images = torch.rand(2, 3, EQUAL[name], EQUAL[name], generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TailWarning)
        found = encoder(images).embedding
    torch.testing.assert_close(found, penultimate(encoder.network, images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_is_not_one_sentence_says_so(name):
    with pytest.raises(ValueError, match=REFUSED[name]) as error:
        built(name)
    assert "or say tail='ignore' where its pooled maps are meant, or tail='network'" in str(error.value)


def test_layers_that_read_every_cell_are_explained_by_all_of_them():
    """The pooled values are all activations, each in its cell; the maps are those behind the adaptive pooling."""
    encoder = built("alexnet")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 64, 64, generator=generator)
    assert encoder(images).maps.shape == (3, 256, 6, 6)
    found = explain(encoder, images[0], {"a": images[1:2], "b": images[2:]}, method="contrast")
    assert found.cells.shape == (6, 6)
    assert found.residual <= 1e-5 * found.absolute_sum


def test_another_head_reads_the_means_and_another_pooling_is_refused():
    assert built("alexnet", head=HeadConfig(kind="none"))(torch.rand(1, 3, 64, 64)).embedding.shape == (1, 256)
    with pytest.raises(ValueError, match=r"expected pooling='flatten' of a network whose own layers read every cell"):
        built("alexnet", pooling="gap")


@pytest.mark.parametrize(("name", "channels"), [("alexnet", 256), ("squeezenet1_1", 512)])
def test_its_pooled_maps_are_taken_where_they_are_meant(name, channels):
    encoder = built(name, tail="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TailWarning)
        assert encoder(torch.rand(1, 3, 64, 64)).embedding.shape == (1, channels)


def test_every_network_of_torchvision_is_of_a_family_above():
    families = ("resnet", "resnext", "wide_resnet", *(name[:3] for name in (*EQUAL, *REFUSED)))
    assert [name for name in models.list_models(module=models) if not name.startswith(families)] == []


def test_the_norm_behind_convnexts_pooling_is_part_of_the_receipt_and_of_its_own_weights(tmp_path):
    path = tmp_path / "weights.pt"
    donor = models.convnext_tiny()
    nn.init.normal_(donor.classifier[0].weight)
    torch.save(donor.state_dict(), path)
    encoder = Encoder.named("torchvision:convnext_tiny", checkpoint=path, size=32)
    torch.testing.assert_close(encoder.head.weight, donor.classifier[0].weight)
    generator = torch.Generator().manual_seed(0)
    query, *supports = (torch.rand(3, 32, 32, generator=generator) for _ in range(3))
    found = explain(encoder, query, {"a": supports[0][None], "b": supports[1][None]})
    assert found.residual <= 1e-5 * found.absolute_sum


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "avgpool"), ("swin_t", "avgpool")])
def test_a_layer_of_one_cell_is_refused_unless_its_values_are_meant(name, layer):
    with pytest.raises(ValueError, match=r"the layer avgpool of .* one cell, which has no places to explain; name a"):
        built(name, layer=layer)
    encoder = built(name, layer=layer, tail="ignore", layout="channels-first")
    assert encoder(torch.rand(1, 3, 64, 64)).maps.shape[-2:] == (1, 1)
