"""The papers' encoders beside timm's and Cadene's, where these are installed; neither is needed for anything else."""

import warnings

import pytest
import torch
from named_encoders import assert_close_in_scale, lively, random_images

from fsl_explain import Encoder
from fsl_explain.config import HeadConfig

pytestmark = pytest.mark.oracles


@pytest.mark.parametrize(("name", "peer"), [("npid-resnet18", "resnet18"), ("swav-resnet50", "resnet50")])
def test_residual_networks_are_those_of_timm(name, peer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = pytest.importorskip("timm", reason="timm is not installed")
    reference = lively(timm.create_model(peer, pretrained=False)).eval()
    encoder = Encoder.named(name, size=96, head=HeadConfig(kind="none"))
    names = {key for key in reference.state_dict() if not key.startswith("fc.")}
    assert names == set(encoder.network.state_dict())
    encoder.network.load_state_dict(reference.state_dict(), strict=False)
    batch = random_images(2, side=96)
    with torch.no_grad():
        assert_close_in_scale(encoder(batch).maps, reference.forward_features(batch))


@pytest.mark.parametrize("side", [96, 227])
def test_bn_inception_is_that_of_cadene(side):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peers = pytest.importorskip("pretrainedmodels.models.bninception", reason="pretrainedmodels is not installed")
    reference = lively(peers.bninception(pretrained=None)).eval()
    encoder = Encoder.named("bn-inception", size=96, head=HeadConfig(kind="none"))
    names = [key for key in reference.state_dict() if not key.startswith("last_linear.")]
    assert set(names) == set(encoder.network.state_dict())
    encoder.network.load_state_dict(reference.state_dict(), strict=False)
    batch = random_images(1, side=side)
    with torch.no_grad():
        assert_close_in_scale(encoder(batch).maps, reference.features(batch))
    assert sum(p.numel() for p in reference.parameters()) == 11_295_240
