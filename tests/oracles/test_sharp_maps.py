"""Maps of pixels and of earlier layers beside captum, pytorch-grad-cam and torchcam, of the same scores of similarity.

captum's NoiseTunnel draws its noise from the global generator; it is given ours. pytorch-grad-cam adds 1e-7 to what
FullGrad divides by, so the scores of both sides are multiplied by a large number; its picture is stretched to [0, 1],
which is done to ours too. It enlarges with OpenCV, in float32.
"""

import warnings
from dataclasses import replace

import pytest
import torch
from staged_network import SIDE, Scores, pictures, staged_encoder
from torch import nn
from torchvision.models import resnet18

from fsl_explain import Encoder, IntegratedGradientsOptions, explain, integrated_gradients_method
from fsl_explain.explainers.methods.cellwise_cam import layercam
from fsl_explain.explainers.methods.earlier_cams import fused
from fsl_explain.explainers.methods.fullgrad import full_gradient_map, full_gradients
from fsl_explain.explainers.methods.smoothgrad import noises
from fsl_explain.explainers.methods.whole_network import images_of
from fsl_explain.explainers.normalization import max_scaled, min_max_map

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import captum.attr as captum
    import pytorch_grad_cam as peers
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchcam.methods import LayerCAM

pytestmark = pytest.mark.oracles
TARGET, SCALE = 1, 1e6
QUERIES, SUPPORTS = pictures(2, seed=1), pictures(3, 2, seed=2)


class Straight(nn.Module):
    """Each ReLU a module of its own, without a residual, as captum's guided backpropagation needs it."""

    def __init__(self, activation=nn.ReLU):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, stride=2, padding=1),
            nn.BatchNorm2d(5),
            activation(),
            nn.Conv2d(5, 6, 3, stride=2, padding=1),
            nn.BatchNorm2d(6),
            activation(),
        )

    def forward(self, images):
        return self.features(images)


def straight(head=None, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = Straight(**options).double().eval()
        for norm in (network.features[1], network.features[4]):
            norm.running_mean.normal_(std=0.3)
            nn.init.normal_(norm.bias, std=0.3)
        return Encoder.wrap(network, head=nn.Linear(6, 4).double() if head else None)


def ours(encoder, method, **options):
    return explain(encoder, QUERIES, SUPPORTS, method=method, target=TARGET, **options)


@pytest.mark.parametrize("head", [False, True])
def test_guided_backpropagation_as_in_captum(head):
    encoder = straight(head)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = captum.GuidedBackprop(Scores(encoder, SUPPORTS)).attribute(QUERIES.clone(), target=TARGET)
    torch.testing.assert_close(ours(encoder, "guided-backprop").cells, theirs.abs().sum(dim=1).detach())


def test_guided_grad_cam_as_in_captum():
    """captum multiplies by Grad-CAM as it is, ours by Grad-CAM over its maximum."""
    encoder = straight()
    scores = Scores(encoder, SUPPORTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = captum.GuidedGradCam(scores, encoder.network.features)
        theirs = peer.attribute(QUERIES.clone(), target=TARGET, interpolate_mode="bilinear").abs().sum(dim=1).detach()
    torch.testing.assert_close(max_scaled(ours(encoder, "guided-grad-cam").cells), max_scaled(theirs))


def test_smoothgrad_as_in_captum_with_the_same_noise(monkeypatch):
    encoder, count = staged_encoder(), 25
    found = []
    for query in QUERIES:
        deviation = 0.15 * float(query.max() - query.min())
        tunnel = captum.NoiseTunnel(captum.Saliency(Scores(encoder, SUPPORTS)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given = {"nt_samples": count, "stdevs": deviation, "target": TARGET, "abs": False}
            monkeypatch.setattr(torch, "normal", lambda _m, d: noises(range(count), (3, SIDE, SIDE), 0) * d)
            found.append(tunnel.attribute(query[None], nt_type="smoothgrad", **given)[0])
    theirs = torch.stack(found).abs().sum(dim=1).detach()
    torch.testing.assert_close(ours(encoder, "smoothgrad").cells, theirs)


@pytest.mark.parametrize("similarity", ["cosine", "inner-product"])
@pytest.mark.parametrize("head", [False, True])
def test_integrated_gradients_as_in_captum(head, similarity):
    """Of a smooth network, so that both integrals are exact."""
    encoder = straight(head, activation=nn.Softplus)
    method = integrated_gradients_method(IntegratedGradientsOptions(missed=1e-12, steps=512))
    peer = captum.IntegratedGradients(Scores(encoder, SUPPORTS, similarity=similarity))
    theirs = peer.attribute(QUERIES, torch.zeros_like(QUERIES), target=TARGET, n_steps=128, method="gausslegendre")
    found = ours(encoder, method, similarity=similarity)
    torch.testing.assert_close(found.cells, theirs.sum(dim=1).detach(), rtol=1e-7, atol=1e-10)


class Network(nn.Module):
    """The scores of a ResNet-18's maps, whose stages a peer can name."""

    def __init__(self, encoder, supports):
        super().__init__()
        self.network, self.references = encoder.network, encoder(supports.flatten(0, 1)).embedding.detach()
        self.way = len(supports)

    def forward(self, images):
        net = self.network
        maps = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        pooled = net.layer4(net.layer3(net.layer2(net.layer1(maps)))).mean(dim=(-2, -1))
        similarities = torch.cosine_similarity(pooled[:, None], self.references, dim=-1)
        return SCALE * similarities.unflatten(1, (self.way, -1)).mean(dim=-1)


@pytest.fixture(scope="module")
def residual():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder.wrap(resnet18(weights=None).eval(), "layer4")
    generator = torch.Generator().manual_seed(1)
    query, supports = (torch.randn(*shape, 3, 64, 64, generator=generator) for shape in ((2,), (3, 1)))
    return encoder, Network(encoder, supports), query, supports


@pytest.mark.parametrize(("detail", "layer"), [(1, "layer3"), (2, "layer2"), (3, "layer1")])
def test_earlier_layers_as_in_captum_and_pytorch_grad_cam(residual, detail, layer):
    encoder, scores, query, supports = residual
    place = encoder.network.get_submodule(layer)
    theirs = captum.LayerGradCam(scores, place).attribute(query, TARGET, relu_attributions=True)[:, 0].detach()
    found = explain(encoder, query, supports, method=f"grad-cam@{detail}", target=TARGET).cells
    torch.testing.assert_close(max_scaled(found), max_scaled(theirs), rtol=0, atol=1e-4)
    for name, peer in {"layercam": peers.LayerCAM, "hirescam": peers.HiResCAM}.items():
        with peer(scores, [place]) as one:
            picture = torch.from_numpy(one(query, [ClassifierOutputTarget(TARGET)] * 2))
        mine = explain(encoder, query, supports, method=f"{name}@{detail}", target=TARGET).saliency
        torch.testing.assert_close(min_max_map(mine), picture, rtol=0, atol=1e-4)


def test_layercam_is_fused_as_in_torchcam(residual):
    """torchcam scales the maps of all stages; it is given the deep ones as they are."""
    encoder, _, query, supports = residual
    cells = [explain(encoder, query, supports, method="layercam", target=TARGET).cells]
    cells += [explain(encoder, query, supports, method=f"layercam@{d}", target=TARGET).cells for d in (1, 2, 3, 4)]
    scaled = [max_scaled(one) for one in cells]
    theirs = LayerCAM._fuse_cams([*scaled[:2], *LayerCAM._scale_cams(scaled[2:])], (32, 32))
    found = explain(encoder, query, supports, method="layercam-fused", target=TARGET).cells
    torch.testing.assert_close(found, theirs)
    torch.testing.assert_close(fused(cells, (32, 32)), theirs)
    assert layercam(torch.ones(1, 1, 2, 2), -torch.ones(1, 1, 2, 2)).cells.sum() == 0


def test_fullgrad_as_in_pytorch_grad_cam():
    encoder = straight()
    network = Scores(encoder, SUPPORTS, scale=SCALE).float()
    with peers.FullGrad(network, []) as peer:
        theirs = torch.from_numpy(peer(QUERIES.float(), [ClassifierOutputTarget(TARGET)] * 2))
    encoder = straight()
    question = ours(encoder, "exact").question
    scaled = replace(question.explained, class_weights=SCALE * question.explained.class_weights)
    found = full_gradient_map(full_gradients(replace(question, explained=scaled), images_of(question)))
    torch.testing.assert_close(min_max_map(found).float(), theirs, rtol=0, atol=1e-4)
    torch.testing.assert_close(ours(encoder, "fullgrad").cells, found)
