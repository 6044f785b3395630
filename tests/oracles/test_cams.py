"""Gradient CAMs beside captum and pytorch-grad-cam: of a class logit, and of a similarity to supports.

pytorch-grad-cam adds small constants to denominators: 1e-6 in Grad-CAM++, 1e-7 in XGrad-CAM. The papers have none. The
former outweighs the squared gradients of a similarity, so its inputs are adjusted: the scores of both sides are
multiplied by a large number. Its Eigen-CAM leaves the sign of the component open. Its pictures are rescaled by
min-max, which is done to ours too.
"""

import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fsl_explain import Encoder, explain, saliency
from fsl_explain.explainers.methods.class_logit import FORMULAS, class_logit_map
from fsl_explain.explainers.methods.eigen_cam import principal_map
from fsl_explain.explainers.methods.map_gradients import map_gradients
from fsl_explain.explainers.normalization import min_max_map

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pytorch_grad_cam as peers
    from captum.attr import LayerGradCam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

pytestmark = pytest.mark.oracles
PEERS = {
    "grad-cam": peers.GradCAM,
    "grad-cam++": peers.GradCAMPlusPlus,
    "xgrad-cam": peers.XGradCAM,
    "hirescam": peers.HiResCAM,
    "layercam": peers.LayerCAM,
}
SCALE = 1e5
WAY, TARGET = 3, 1


class Classifier(nn.Module):
    """Rectified maps of 6 × 7 cells whose gradients differ from cell to cell."""

    def __init__(self, scale):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU()
        )
        self.mixing, self.classifier = nn.Conv2d(8, 5, 2), nn.Linear(5, WAY)
        self.scale = scale

    def forward(self, batch):
        return self.scale * self.classifier(self.mixing(self.features(batch)).relu().mean(dim=(-2, -1)))


class SimilarityScores(nn.Module):
    """The mean cosine similarity to the supports of each class, as a module that the peers can explain."""

    def __init__(self, encoder, supports):
        super().__init__()
        self.network, self.pooling = encoder.network, encoder.pooling
        self.references = encoder(supports.flatten(0, 1)).embedding.unflatten(0, supports.shape[:2])

    def forward(self, batch):
        pooled = self.pooling(self.network.features(batch))
        return SCALE * F.cosine_similarity(pooled[:, None, None], self.references, dim=-1).mean(dim=-1)


def drawn(*shape, seed):
    return torch.randn(*shape, 3, 17, 19, generator=torch.Generator().manual_seed(seed))


def classifier(scale=1000.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(scale).eval()


def peer_cells(method, network, layer, batch, target=TARGET):
    """A peer's cells after its ReLU and its picture; its own network call fills the maps and gradients."""
    with PEERS[method](network, [layer]) as peer:
        targets = [ClassifierOutputTarget(target)] * len(batch)
        picture = torch.from_numpy(peer(batch, targets))
        recorded = peer.activations_and_grads
        maps, gradients = (values[0].numpy() for values in (recorded.activations, recorded.gradients))
        cells = peer.get_cam_image(batch, layer, targets, maps, gradients, eigen_smooth=False)
    return torch.from_numpy(cells).relu(), picture


def assert_equal_maps(found, expected):
    """Within 1e-5 of the largest value of each map."""
    largest = expected.abs().amax(dim=(-2, -1), keepdim=True)
    assert (largest > 0).all()
    torch.testing.assert_close(found / largest, expected / largest, rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", FORMULAS)
def test_a_class_logit_as_in_pytorch_grad_cam(method):
    network, batch = classifier(), drawn(4, seed=1)
    encoder = Encoder.wrap(network, "features")
    cells, picture = peer_cells(method, network, network.features, batch)
    assert_equal_maps(class_logit_map(encoder, batch, method, TARGET).cells.relu(), cells)
    assert_equal_maps(min_max_map(saliency(encoder, batch, method=method, target=TARGET)), picture)


def similarity_explanation(method):
    encoder = Encoder.wrap(classifier(), "features", pooling="lse")
    supports, batch = drawn(WAY, 2, seed=2), drawn(4, seed=1)
    return SimilarityScores(encoder, supports), batch, explain(encoder, batch, supports, method=method, target=TARGET)


@pytest.mark.parametrize("method", FORMULAS)
def test_a_similarity_as_in_pytorch_grad_cam(method):
    """The scores are multiplied on both sides, which matters to Grad-CAM++ alone."""
    network, batch, explanation = similarity_explanation(method)
    cells, picture = peer_cells(method, network, network.network.features, batch)
    question = explanation.question
    scaled = replace(question.explained, class_weights=SCALE * question.explained.class_weights)
    gradients = map_gradients(replace(question, explained=scaled))
    assert_equal_maps(FORMULAS[method](question.query.maps, gradients).cells.relu(), cells)
    if method != "grad-cam++":
        assert_equal_maps(explanation.cells, cells / SCALE)
        assert_equal_maps(min_max_map(explanation.saliency), picture)


def test_the_constant_of_the_peers_grad_cam_plus_plus_outweighs_small_gradients():
    """Why the inputs are adjusted: logits a thousandth as large change the peer's map but not ours."""
    large, small, batch = classifier(1.0), classifier(1e-3), drawn(4, seed=1)
    ours = [class_logit_map(Encoder.wrap(one, "features"), batch, "grad-cam++", TARGET) for one in (large, small)]
    theirs = [peer_cells("grad-cam++", one, one.features, batch)[0] for one in (large, small)]
    scaled = [cells / cells.amax(dim=(-2, -1), keepdim=True) for cells in (ours[1].cells, theirs[1])]
    assert (scaled[0] - scaled[1]).abs().max() > 0.01
    assert ours[1].channels.sum() / ours[0].channels.sum() > 9e-4
    assert theirs[1].sum() / theirs[0].sum() < 5e-4


@pytest.mark.parametrize("target", range(WAY))
def test_a_class_logit_as_in_captum(target):
    network, batch = classifier(), drawn(4, seed=1)
    expected = LayerGradCam(network, network.features).attribute(batch, target, relu_attributions=True)
    found = class_logit_map(Encoder.wrap(network, "features"), batch, "grad-cam", target).cells.relu()
    assert_equal_maps(found, expected[:, 0].detach())


def test_the_predicted_class_is_that_of_the_peer():
    network, batch = classifier(), drawn(4, seed=3)
    with torch.no_grad():
        network.classifier.bias -= network(batch).mean(dim=0) / network.scale
    predicted = network(batch).argmax(dim=-1)
    assert len(predicted.unique()) > 1
    expected = LayerGradCam(network, network.features).attribute(batch, predicted, relu_attributions=True)
    found = class_logit_map(Encoder.wrap(network, "features"), batch).cells.relu()
    assert_equal_maps(found, expected[:, 0].detach())


def test_a_similarity_as_in_captum():
    network, batch, explanation = similarity_explanation("grad-cam")
    expected = LayerGradCam(network, network.network.features).attribute(batch, TARGET, relu_attributions=True)
    assert_equal_maps(explanation.cells, expected[:, 0].detach() / SCALE)


def test_eigen_cam_as_in_pytorch_grad_cam_up_to_its_sign():
    network, batch = classifier(), drawn(4, seed=1)
    with peers.EigenCAM(network, [network.features]) as peer:
        peer(batch, [ClassifierOutputTarget(0)] * 4)
        maps = peer.activations_and_grads.activations[0]
        expected = torch.from_numpy(peer.get_cam_image(batch, None, None, maps.numpy(), None, eigen_smooth=False))
    found = principal_map(Encoder.wrap(network, "features")(batch).maps)
    sign = (found * expected).sum(dim=(-2, -1), keepdim=True).sign()
    assert_equal_maps(found * sign, expected)
