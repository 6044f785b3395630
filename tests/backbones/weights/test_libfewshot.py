"""Files of LibFewShot compute what its own networks do, written here from its code."""

from functools import partial

import pytest
import torch
from references import libfewshot_networks as reference
from references import official_layouts as layouts
from test_key_maps import SMALL, random_state

from fsl_explain import Encoder

OF_CONV = {
    f"libfewshot-{network}-{kind}{ending}": partial(reference.conv64f, negative_slope=slope, **pools)
    for kind, slope in (("relu", 0.0), ("leaky-relu", 0.2))
    for network, ending, pools in (
        ("conv4net", "", {"last_pool": True, "maxpool_last2": True}),
        ("conv64f", "", {"last_pool": False, "maxpool_last2": False}),
        ("conv64f", "-3-pools", {"last_pool": False, "maxpool_last2": True}),
    )
}
OF_RESIDUAL = {
    "libfewshot-resnet12": partial(reference.resnet12, maxpool_last2=True),
    "libfewshot-resnet12-2-pools": partial(reference.resnet12, maxpool_last2=False),
}
NETWORKS = {**OF_CONV, **OF_RESIDUAL}


@pytest.mark.parametrize("release", NETWORKS)
def test_a_file_computes_what_the_network_of_its_release_does(tmp_path, release):
    network = release.split("-")[1]
    layout = layouts.libfewshot_conv4 if network == "conv4net" else layouts.libfewshot
    state = layout(random_state(network, SMALL[network]))
    torch.save(state, tmp_path / "model_best.pth")
    encoder = Encoder.named(network, checkpoint=tmp_path / "model_best.pth", release=release, **SMALL[network])
    images = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(images).maps, NETWORKS[release](images, state), rtol=1e-4, atol=1e-5)


def test_a_residual_file_is_taken_for_that_of_the_configuration_unless_it_is_named(tmp_path):
    torch.save(layouts.libfewshot(random_state("resnet12", SMALL["resnet12"])), tmp_path / "model_best.pth")
    plain = Encoder.named("resnet12", checkpoint=tmp_path / "model_best.pth", **SMALL["resnet12"])
    assert "of libfewshot-resnet12, sha256" in plain.description
    assert plain(torch.zeros(1, 3, 84, 84)).maps.shape[-2:] == (5, 5)
