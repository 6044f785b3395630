"""Networks as users bring them: that flatten their maps, in half precision, with masks, with gradients of their own."""

import pytest
import torch
from tiny_encoder import images, tiny_encoder, tiny_network
from torch import nn

from fsl_explain import Encoder, Features, explain, saliency
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.explainers.methods.random_masks import _shifted_matrices, smooth_masks
from fsl_explain.explainers.support_groups import check_groups

HALF = [torch.float16, torch.bfloat16]


class Flattening(nn.Module):
    """Reads its maps as one row, as LeNet does; the view fails where the maps are channels last."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)
        self.classifier = nn.Linear(4 * 3 * 4, 5)

    def forward(self, batch):
        maps = self.conv(batch)
        return self.classifier(maps.view(maps.size(0), -1))


@pytest.mark.parametrize(("network", "layouts"), [(tiny_network, "ll"), (Flattening, "lcc")])
def test_images_are_channels_last_unless_the_network_flattens_its_maps(network, layouts):
    network, seen = network(), []
    network.register_forward_pre_hook(
        lambda _, args: seen.append("l" if args[0].is_contiguous(memory_format=torch.channels_last) else "c")
    )
    encoder, batch = Encoder.wrap(network, "conv"), images(2, dtype=torch.float32)
    first, second = encoder(batch), encoder(batch)
    assert "".join(seen) == layouts
    torch.testing.assert_close(first.maps, network.conv(batch))
    torch.testing.assert_close(second.maps, first.maps)


def test_an_error_of_the_network_is_its_own():
    network, seen = tiny_network(), []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with pytest.raises(RuntimeError, match="Kernel size"):
        Encoder.wrap(network, "conv")(torch.zeros(2, 3, 1, 1))
    assert len(seen) == 1


@pytest.mark.parametrize("method", ["lafam", "grad-cam", "relax"])
def test_a_network_may_flatten_its_maps(method):
    network = Flattening()
    found = saliency(Encoder.wrap(network, "conv"), images(2, dtype=torch.float32), method=method)
    assert found.shape == (2, 6, 8)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("dtype", HALF)
def test_what_half_precision_computes_is_explained_in_float32(dtype):
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 6)).to(dtype)
    encoder = Encoder.wrap(tiny_network().to(dtype), "activation", head=head)
    query, supports = images(4, seed=1, dtype=torch.float32), images(3, 2, seed=2, dtype=torch.float32)
    features = encoder(query)
    assert features.maps.dtype == features.embedding.dtype == torch.float32
    for method in ("exact", "contrast", "grad-cam", "ablation-cam", "relax", "occlusion"):
        found = explain(encoder, query, supports, method=method)
        assert found.saliency.dtype == found.score.dtype == torch.float32
    exact = explain(encoder, query, supports)
    assert (exact.residual <= 1e-5 * exact.absolute_sum).all()
    assert head[0].weight.dtype == dtype
    importance = explain(encoder, query[0], supports, method="relax").cells
    assert importance.unique().numel() > 40  # of 48 pixels; bfloat16 would leave a handful


def test_autocast_changes_the_network_and_not_the_receipt():
    torch.manual_seed(0)
    encoder = tiny_encoder(nn.Linear(4, 3), dtype=torch.float32)
    query, supports = images(4, seed=1, dtype=torch.float32), images(3, 2, seed=2, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = explain(encoder, query, supports)
    assert not torch.equal(found.cells, explain(encoder, query, supports).cells)
    assert (found.residual <= 1e-5 * found.absolute_sum).all()


def test_classes_that_float32_cannot_tell_apart_are_named_alike():
    """The label is that of the explained class, whatever the printed scores are rounded to."""
    encoder = tiny_encoder(dtype=torch.float32)
    query = images(20, seed=1, dtype=torch.float32)
    near = query.mean(dim=0) + 1e-6 * images(5, 1, seed=2, dtype=torch.float32)
    found = explain(encoder, query, near)
    assert (found.decision.scores.argmax(dim=-1) != found.target).any()  # rounding does lose the order
    assert torch.equal(found.decision.label, found.target)


def test_numbers_are_no_class_names():
    shots = images(2, 1)
    sentence = r"expected class names as the keys of the supports, but got 1, .*; use str\(label\)\.$"
    with pytest.raises(TypeError, match=sentence):
        check_groups.__wrapped__({1: shots[0], 0: shots[1]})


def test_building_a_network_seeds_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _seed: pytest.fail("a GPU was seeded"))
    before = torch.get_rng_state()
    Encoder.named("conv4net", channels=4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("given", ["query", "supports", "features"])
def test_gradients_of_the_user_end_at_the_explanation(given):
    encoder = tiny_encoder()
    query, supports = images(), images(2, 3, seed=1)
    if given == "query":
        query.requires_grad_()
    elif given == "supports":
        supports.requires_grad_()
    else:
        features = encoder(supports.flatten(0, 1)).unflatten(2, 3)
        supports = Features(features.maps, features.pooled, nn.Parameter(features.embedding))
    for rule in ("mean-similarity", "logistic-regression"):
        found = explain(encoder, query, supports, rule=rule)
        assert not any(value.requires_grad for value in (found.score, found.saliency, found.image))
        found.plot()
    (query if given == "query" else supports.embedding if given == "features" else supports).sum().backward()


def test_a_mask_may_be_infinite_and_a_state_no_tensor():
    network = tiny_network()
    network.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    network.get_extra_state = lambda: {"version": 1}
    assert Encoder.wrap(network, "activation").network is network
    network.mask[0] = torch.nan
    with pytest.raises(ValueError, match=r"expected finite weights, but .*mask"):
        Encoder.wrap(network, "activation")


@pytest.mark.parametrize("pooling", ["gap", "gmp", "lse"])
def test_a_head_may_begin_in_place(pooling):
    torch.manual_seed(0)
    head = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))
    query, supports = images(), images(2, 1, seed=1)
    found = explain(tiny_encoder(head, pooling), query, supports, method="grad-cam")
    elsewhere = nn.Sequential(nn.ReLU(), head[1])
    torch.testing.assert_close(
        found.cells, explain(tiny_encoder(elsewhere, pooling), query, supports, method="grad-cam").cells
    )


@pytest.mark.parametrize("against", [torch.tensor(2), torch.tensor([2])])
def test_a_rival_may_be_a_tensor(against):
    encoder, query, supports = tiny_encoder(), images(), images(3, 1, seed=1)
    found = explain(encoder, query, supports, method="contrast", target=0, against=against)
    assert found.against.tolist() == [0, 0, 1]


def test_a_default_device_does_not_stay():
    cells, shifts = torch.rand(2, 3, 3, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.int64)
    _shifted_matrices.cache_clear()
    with torch.device("meta"):
        smooth_masks(cells, shifts, (9, 11))
    assert smooth_masks(cells, shifts, (9, 11)).device.type == "cpu"


@pytest.mark.parametrize("name", ["fam", "relax", "exact"])
def test_a_method_keeps_its_name_as_an_object(name):
    compared = compare(tiny_encoder(), images(2), images(2, 1, seed=1))
    assert explain_compared(compared, METHODS[name], Choice()).method == name
