"""Images of one, two, four and more channels, on every road; refused where the network does not read them."""

import pytest
import torch
from tiny_encoder import OF_MAPS
from torch import nn

import retrieval_explain
from episodes.errors import Mistake
from fsl_explain import Encoder, explain, metrics, saliency
from fsl_explain.explainers.analysis.counterfactual import counterfactual
from fsl_explain.explainers.compared import visible
from fsl_explain.explainers.methods.cam_formulas import FORMULAS
from fsl_explain.explainers.methods.relax import RelaxOptions, relax
from fsl_explain.registries import MASKINGS
from retrieval_explain import MemoryBank


class Classifier(nn.Module):
    def __init__(self, colors):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(colors, 5, 1), nn.ReLU())
        self.conv, self.relu, self.classifier = nn.Conv2d(5, 4, 2, stride=2), nn.LeakyReLU(0.5), nn.Linear(4, 3)

    def forward(self, batch):
        return self.classifier(self.relu(self.conv(self.first(batch))).mean(dim=(-2, -1)))


def encoder_of(colors, **options):
    torch.manual_seed(colors)
    return Encoder.wrap(Classifier(colors), "relu", **options)


def batch(*leading, colors):
    return torch.rand(*leading, colors, 6, 8, generator=torch.Generator().manual_seed(1))


COLORS = [1, 2, 4, 7]


@pytest.mark.parametrize("method", OF_MAPS)
def test_every_method_takes_them(method):
    colors = 4
    options = {"threshold": 0.1} if method == "verification" else {}
    found = explain(encoder_of(colors), batch(colors=colors), batch(2, 2, colors=colors), method=method, **options)
    assert found.saliency.shape == (6, 8)
    assert found.image.shape == (3, 6, 8)
    assert found.support_images.shape == (2, 2, 3, 6, 8)
    if method in ("exact", "contrast", "log-probability", "verification"):
        assert found.residual < 1e-5


@pytest.mark.parametrize("method", ["lafam", "eigen-cam", *FORMULAS])
def test_maps_without_supports_take_them(method):
    assert saliency(encoder_of(1), batch(2, colors=1), method=method).shape == (2, 6, 8)


@pytest.mark.parametrize("colors", COLORS)
def test_the_other_roads_take_them(colors):
    encoder, query, supports = encoder_of(colors), batch(colors=colors), batch(2, 2, colors=colors)
    assert relax(encoder, query, options=RelaxOptions(masks=4, grid=2)).importance.shape == (6, 8)
    changed = counterfactual(encoder, query, {"a": supports[0], "b": 1 - supports[1]})
    assert changed.image_before.shape == (3, 6, 8)
    bank = MemoryBank.from_embeddings(encoder(batch(5, colors=colors)).embedding, labels=list("aabbb"))
    assert retrieval_explain.explain(encoder, query, bank, k=3).image.shape == (3, 6, 8)
    assert explain(encoder, query, supports).plot().axes


@pytest.mark.parametrize("colors", COLORS)
@pytest.mark.parametrize("how", MASKINGS)
def test_maskings_and_metrics_take_them(how, colors):
    images, masks = batch(2, colors=colors), batch(2, colors=1)[:, 0]
    removed = metrics.removed_pixels(images, how, black=torch.full((colors, 1, 1), -1.0))
    assert metrics.masked_images(images, masks, removed=removed).shape == images.shape
    filled = metrics.noisy_linear_imputation(images, masks > 0.3, generator=torch.Generator().manual_seed(0))
    assert filled.shape == images.shape


def test_black_of_another_number_of_channels_is_refused():
    with pytest.raises(Mistake, match="expected black in the 2 channels of the images, but it is known for 3"):
        metrics.removed_pixels(batch(1, colors=2), "black", black=encoder_of(2).black)


def test_what_a_picture_shows_of_them():
    """One channel in gray, two as their mean, of more the first three; by a normalization of as many channels."""
    for colors in COLORS:
        images, encoder = batch(2, colors=colors), encoder_of(colors)
        low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
        stretched = (images - low) / (high - low)
        gray = stretched.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
        torch.testing.assert_close(visible(encoder, images), gray if colors < 3 else stretched[:, :3])


@pytest.mark.parametrize("colors", [1, 3, 4])
def test_other_numbers_than_the_network_reads_are_one_sentence(colors):
    encoder, right, wrong = encoder_of(2), batch(2, colors=2), batch(2, colors=colors)
    with pytest.raises(Mistake, match=rf"expected images of 2 channels, as the network reads them, but got {colors}"):
        encoder(wrong)
    with pytest.raises(Mistake, match=r"expected an image \(2, H, W\) or a batch \(B, 2, H, W\), but got shape"):
        explain(encoder, wrong, {"a": right})
    with pytest.raises(Mistake, match=r"expected supports \(shot, 2, H, W\) with at least one shot for a"):
        explain(encoder, right, {"a": wrong})
    with pytest.raises(Mistake, match=r"expected an image \(2, H, W\)"):
        saliency(encoder, wrong)
    with pytest.raises(Mistake, match=r"expected an image \(2, H, W\)"):
        relax(encoder, wrong)


def test_images_with_their_channels_last_are_refused():
    with pytest.raises(Mistake, match=r"expected an image \(3, H, W\) .* but got shape \(6, 8, 3\)"):
        saliency(encoder_of(3), torch.rand(6, 8, 3))


def test_a_network_that_rearranges_pixels_says_itself_what_it_reads():
    encoder = Encoder(nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(16, 4, 1)))
    images = batch(5, colors=4)
    assert explain(encoder, images[0], {"a": images[1:3], "b": images[3:]}).residual < 1e-5
    with pytest.raises(Mistake, match="expected an image"):
        saliency(encoder, batch(2, colors=3))


def test_a_network_without_convolutions_takes_what_it_takes():
    network = nn.Sequential(nn.AvgPool2d(2), nn.ReLU())
    images = batch(5, colors=5)
    assert explain(Encoder(network), images[0], {"a": images[1:3], "b": images[3:]}).residual < 1e-5
