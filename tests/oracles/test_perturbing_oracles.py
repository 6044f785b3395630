"""Score-CAM and Ablation-CAM beside pytorch-grad-cam, occlusion beside captum.

Compared where the definitions coincide. Left out: activation maps smaller than the image in Score-CAM, which
pytorch-grad-cam enlarges with aligned corners; maps below 0 in Ablation-CAM, where it sets a channel far below the
smallest value instead of to zero; and negative scores, by which it divides. captum's squares begin inside of the image,
and count an increase of the score as a negative drop: only pixels that the same squares hide, of a score that hiding
never raises, are compared. pytorch-grad-cam stretches each map to [0, 1], so that is done to ours too.
"""

import warnings

import pytest
import torch
from torch import nn

from fsl_explain import Encoder, OcclusionOptions, explain, occlusion_method
from fsl_explain.similarities import cosine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import Occlusion
    from pytorch_grad_cam import AblationCAM, ScoreCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

pytestmark = pytest.mark.oracles
SIZE = (10, 12)
TARGET = 1


class Decider(nn.Module):
    """Scores each class by the mean cosine similarity to its supports, as one network."""

    def __init__(self, network, head, supports):
        super().__init__()
        self.network, self.head = network, head
        self.register_buffer("supports", self.embed(supports.flatten(0, 1)).detach())
        self.shots = supports.shape[1]

    def embed(self, images):
        return self.head(self.network(images).mean(dim=(-2, -1)))

    def forward(self, images):
        return cosine.pairwise(self.embed(images), self.supports).unflatten(1, (-1, self.shots)).mean(dim=-1)


def scene(channels=6, seed=0):
    """A network with maps of the image's size, none below 0; two queries, and two classes of two supports."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, channels, 3, padding=1), nn.ReLU()
        )
        head = nn.Linear(channels, 5)
        queries, supports = torch.randn(2, 3, *SIZE), torch.randn(2, 2, 3, *SIZE)
    encoder = Encoder.wrap(network, "3", head=head)
    return encoder, Decider(network, head, supports).eval(), queries, supports


def stretched(cells):
    low, high = cells.amin(dim=(-2, -1), keepdim=True), cells.amax(dim=(-2, -1), keepdim=True)
    return (cells - low) / (high - low)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("method", "peer"), [("score-cam", ScoreCAM), ("ablation-cam", AblationCAM)])
def test_maps_equal_those_of_pytorch_grad_cam(method, peer, seed):
    encoder, decider, queries, supports = scene(seed=seed)
    found = explain(encoder, queries, supports, method=method, target=TARGET)
    assert found.score.min() > 0
    assert encoder(queries).maps.amin() == 0
    with peer(model=decider, target_layers=[decider.network[3]]) as theirs:
        expected = theirs(input_tensor=queries, targets=[ClassifierOutputTarget(TARGET)] * 2)
    torch.testing.assert_close(stretched(found.cells), torch.from_numpy(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("window", "stride"), [(3, 3), (5, 5), (4, 2), (6, 2)], ids=str)
def test_occlusion_equals_captum(window, stride):
    """No weight and no pixel is below 0, and the inner product only grows with them: hiding never raises it."""
    encoder, decider, queries, supports = (part.abs() if isinstance(part, torch.Tensor) else part for part in scene())
    for parameter in decider.parameters():
        parameter.data.abs_()
    options = OcclusionOptions(window=window, stride=stride)
    found = explain(
        encoder,
        queries,
        supports,
        method=occlusion_method(options),
        rule="mean-similarity",
        similarity="inner-product",
        target=TARGET,
    )
    of_class = decider.embed(supports[TARGET]).mean(dim=0).detach()
    expected = Occlusion(lambda images: decider.embed(images).detach() @ of_class).attribute(
        queries, sliding_window_shapes=(3, window, window), strides=(3, stride, stride)
    )[:, 0]
    inside = slice(window - stride, None)
    scale = float(expected.max())
    ours, theirs = (
        values[:, inside, inside][:, : 1 - window, : 1 - window] for values in (found.cells, expected.float())
    )
    torch.testing.assert_close(ours / scale, theirs / scale, rtol=0, atol=1e-5)
    assert expected.min() > 0
