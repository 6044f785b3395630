"""Earlier maps: which are found by watching, and that their gradient CAMs are those of the layer that made them."""

import pickle
import warnings

import pytest
import torch
import torchvision
from decision_parts import PAIRS, QUICK_RULES
from hypothesis import given
from hypothesis import strategies as st
from own_tails import own_tail
from references import gradient_cams as reference
from tiny_encoder import images, random_head, tiny_encoder
from torch import nn
from torch.autograd.graph import get_gradient_edge

from episodes.errors import Mistake
from fsl_explain import METHODS, Encoder, explain
from fsl_explain.explainers.methods.earlier_cams import FORMULAS, composed, fused
from fsl_explain.explainers.methods.earlier_maps import cuts, depth_of

LAYERS = {  # by the number behind @: the module whose output it is
    "resnet18": ("layer4", {1: "layer3", 2: "layer2", 3: "layer1"}),
    "vgg11": ("features.19", {1: "features.14", 2: "features.9", 3: "features.4", 4: "features.1"}),
    "densenet121": ("features", {1: "features.transition3.conv", 2: "features.transition2.conv"}),
    "convnext_tiny": ("features", {1: "features.6.0", 2: "features.4.0", 3: "features.2.0"}),
    "swin_t": ("permute", {1: "features.5", 2: "features.3", 3: "features.1"}),
}


def network_of(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(torchvision.models, name)(weights=None).eval().double()


def photographs(*leading, seed, side=64):
    return torch.randn(*leading, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at_layer(network, layer, encoder, query, supports):
    """The maps and derivatives of the score at a module, by a hook of the test's own, channels first."""
    kept = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *of: kept.append(of[-1]))
    try:
        last = encoder.reading.layer
        hook = last.register_forward_hook(lambda *of: kept.append(of[-1].clone()))  # a ReLU may overwrite it
        network(query)
        hook.remove()
    finally:
        handle.remove()
    maps = encoder.reading.in_order(kept[-1], query)
    references = encoder(supports).embedding
    score = torch.cosine_similarity(maps.mean(dim=(-2, -1)), references, dim=-1).mean()
    (slope,) = torch.autograd.grad(score, kept[0])
    found = [kept[0].detach(), slope]
    return [one.permute(0, 3, 1, 2) for one in found] if network.__class__.__name__ == "SwinTransformer" else found


@pytest.mark.parametrize("name", LAYERS)
def test_maps_are_those_at_the_ends_of_stages(name):
    last, layers = LAYERS[name]
    network = network_of(name)
    encoder = Encoder.wrap(network, last, tail="ignore")
    query, supports = photographs(1, seed=1), photographs(2, seed=2)
    given = encoder(supports).unflatten(1, 2)
    for detail, layer in layers.items():
        found = explain(encoder, query[0], given, method=f"hirescam@{detail}")
        maps, slope = at_layer(network, layer, encoder, query, supports)
        torch.testing.assert_close(found.cells, (maps * slope).sum(dim=1)[0].clamp(min=0))
        assert found.method == f"hirescam@{detail}"


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("rule", "similarity"), PAIRS[:4], ids=str)
def test_every_formula_equals_the_loop_version(name, rule, similarity):
    """At the six maps of the tiny network, its image's positive and negative parts."""
    encoder, query, supports = tiny_encoder(random_head("linear")), images(seed=1), images(3, 2, seed=2)
    options = {"rule": QUICK_RULES[rule], "similarity": similarity, "target": 1}
    found = explain(encoder, query, supports, method=f"{name}@1", **options)
    A = torch.cat([query, -query]).relu().requires_grad_()
    question = explain(encoder, query, supports, **options).question
    network = encoder.network
    maps = network.activation(network.norm.eval()(network.conv((A[:3] - A[3:])[None])))
    score = question.rule.class_scores(encoder.head(maps.mean(dim=(-2, -1)))[0], question.supports, question.similarity)
    (slope,) = torch.autograd.grad(score[1], A)
    slow = {"grad-cam++": "grad_cam_plus_plus", "grad-cam": "grad_cam", "xgrad-cam": "xgrad_cam"}
    _, cells = getattr(reference, slow.get(name, name))(A.tolist(), slope.tolist())
    torch.testing.assert_close(found.cells, torch.tensor(cells, dtype=torch.float64).clamp(min=0))


def slow_fused(maps, size):
    """In plain loops but for the enlarging."""
    drawn = []
    for place, one in enumerate(maps):
        largest = max(max(row) for row in one)
        scaled = [[max(0.0, v) / largest if largest > 0 else 0.0 for v in row] for row in one]
        if place >= 2:
            scaled = [[float(torch.tanh(torch.tensor(2 * v, dtype=torch.float64))) for v in row] for row in scaled]
        values = torch.tensor(scaled, dtype=torch.float64)[None, None]
        drawn.append(nn.functional.interpolate(values, size=size, mode="bilinear", align_corners=False)[0, 0].tolist())
    return [[max(one[y][x] for one in drawn) for x in range(size[1])] for y in range(size[0])]


@pytest.mark.parametrize("seed", range(3))
def test_fused_maps_equal_the_loop_version(seed):
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(1, *grid, generator=generator).double() for grid in ((2, 3), (4, 6), (8, 12), (16, 24))]
    maps[seed] = -maps[seed].abs()  # one that has nothing to say
    found = fused(maps, (16, 24))
    torch.testing.assert_close(found[0], torch.tensor(slow_fused([one[0].tolist() for one in maps], (16, 24))).double())


def test_layercam_is_fused_over_all_stages_from_the_last_on():
    network = network_of("resnet18")
    encoder = Encoder.wrap(network, "layer4")
    query, supports = photographs(1, seed=1), photographs(1, 2, seed=2)
    parts = [explain(encoder, query[0], supports, method="layercam").cells]
    parts += [explain(encoder, query[0], supports, method=f"layercam@{detail}").cells for detail in (1, 2, 3, 4)]
    assert [tuple(one.shape) for one in parts] == [(2, 2), (4, 4), (8, 8), (16, 16), (32, 32)]
    found = explain(encoder, query[0], supports, method="layercam-fused")
    torch.testing.assert_close(found.cells, fused([one[None] for one in parts], (32, 32))[0])
    assert float(found.saliency.amax()) == 1


class Padded(nn.Module):
    """Strides that are padded apart, as in TensorFlow, and one stage that a stride of 4 skips."""

    def __init__(self):
        super().__init__()
        self.zeroth, self.first = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3, stride=2)
        self.second = nn.Conv2d(4, 5, 5, stride=4)

    def forward(self, batch):
        maps = self.zeroth(nn.functional.pad(batch, (0, 1, 0, 1))).relu()
        maps = self.first(nn.functional.pad(maps, (0, 1, 0, 1))).relu()
        return self.second(nn.functional.pad(maps, (1, 2, 1, 2)))


def test_padding_is_no_map_and_a_skipped_stage_is_the_next_finer_one():
    encoder = Encoder.wrap(Padded().double())
    query, supports = photographs(seed=1), photographs(2, 2, seed=2)
    one, two, three = (explain(encoder, query, supports, method=f"grad-cam@{detail}") for detail in (1, 2, 3))
    assert one.cells.shape == two.cells.shape == (16, 16)
    assert torch.equal(one.cells, two.cells)
    assert three.cells.shape == (32, 32)
    with pytest.raises(Mistake, match=r"last one, 4×4, doubled 4 times, but no such maps of Padded were seen; use"):
        explain(encoder, query, supports, method="grad-cam@4")


@given(st.data())
def test_cuts_are_what_leaves_no_way_when_it_is_taken_away(data):
    """On graphs of sums that PyTorch itself recorded, beside paths that never reach the start."""
    start = torch.ones(1, requires_grad=True)
    made = [start * 1, torch.ones(1, requires_grad=True) * 1]
    for _ in range(data.draw(st.integers(1, 7))):
        chosen = data.draw(st.sets(st.sampled_from(range(len(made))), min_size=1, max_size=3))
        made.append(torch.stack([made[i] for i in sorted(chosen)]).sum(dim=0))
    end, begin = made[-1].grad_fn, get_gradient_edge(start).node
    found = set(cuts(end, begin))
    if begin not in reached(end):
        assert not found
    else:
        assert found == {node for node in reached(end) if begin not in reached(end, without=node)}


def reached(end, without=None):
    seen, waiting = set(), [end]
    while waiting:
        node = waiting.pop()
        if node is None or node is without or node in seen:
            continue
        seen.add(node)
        waiting.extend(before for before, _ in node.next_functions)
    return seen


@pytest.mark.parametrize(("side", "last"), [(224, 7), (225, 8), (97, 4), (64, 1)])
def test_the_depth_of_a_grid_counts_strides(side, last):
    grids = [side]
    while grids[-1] > last:
        grids.append(-(-grids[-1] // 2))
    for depth, grid in enumerate(reversed(grids)):
        assert depth_of((grid, grid), (grids[-1], grids[-1])) == depth


@pytest.mark.parametrize("name", ["grad-cam@0", "grad-cam@01", "grad-cam@-1", "grad-cam@x", "grad-cam@", "fam@1", "@1"])
def test_names_that_say_no_earlier_maps_are_unknown(name):
    assert composed(name) is None
    with pytest.raises(LookupError, match="unknown method"):
        explain(tiny_encoder(), images(), images(2, 1, seed=1), method=name)


def test_a_composed_method_is_pickled_and_known_by_its_name():
    method = METHODS["layercam@2"]
    assert pickle.loads(pickle.dumps(method)).name == method.name == "layercam@2"
    assert METHODS["layercam@2"] is method
    assert "grad-cam@1" in list(METHODS)


def test_networks_that_run_unseen_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()))
    encoder = Encoder.wrap(scripted.double())
    query, supports = photographs(seed=1, side=9), photographs(2, 1, seed=2, side=9)
    for method, what in {"grad-cam@1": "maps", "guided-backprop": "ReLUs", "fullgrad": "biases"}.items():
        with pytest.raises(Mistake, match=f"so that its {what} can be seen, but parts of .* are TorchScript; wrap"):
            explain(encoder, query, supports, method=method)
    assert explain(encoder, query, supports, method="smoothgrad").cells.shape == (9, 9)


def test_the_last_maps_of_a_network_that_goes_on_from_them_are_fused_too():
    encoder = Encoder.wrap(own_tail("netvlad"), "maps", tail="network")
    query, supports = images(2, seed=1), images(2, 2, seed=2)
    last, all_of_them = (
        explain(encoder, query, supports, method=name).cells for name in ("layercam", "layercam-fused")
    )
    torch.testing.assert_close(all_of_them, fused([last], (3, 4)))
