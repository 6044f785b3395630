"""Integrated addends add up whatever lies behind the maps, equal the exact ones where that is linear, and are refused
where they cannot be told."""

from dataclasses import replace

import pytest
import torch
from affine_similarity import Affine, random_affine
from own_tails import CHANNELS, SMOOTH, TAILS, OwnTail, own_tail, square_images
from tiny_encoder import OF_MAPS, images
from torch import nn

from fsl_explain import Encoder, LearnedSimilarity, Mistake, correspondence, explain
from fsl_explain.explainers.methods.integrated import AT_ZERO
from fsl_explain.similarities import euclidean, inner_product

WHOLE = ("exact", "contrast", "log-probability", "verification")
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}


def encoder_of(tail, dtype=torch.float64, **options):
    return Encoder.wrap(own_tail(tail, dtype), "maps", tail="network", layout="channels-first", **options)


def supports(dtype=torch.float64):
    return {name: images(shots, seed=40 + shots, dtype=dtype) for name, shots in {"a": 2, "b": 1, "c": 3}.items()}


def explained(encoder, method, dtype=torch.float64, **options):
    threshold = 0.25 if method == "verification" else None
    query = images(2, seed=7, dtype=dtype)
    return explain(encoder, query, supports(dtype), method=method, threshold=threshold, **options)


def assert_adds_up(found, limit):
    score, bias = found.score.double(), found.bias.double()
    for addends in (found.contributions.double(), found.cells.double().flatten(1)):
        assert ((addends.sum(1) + bias - score).abs() <= limit * (addends.abs().sum(1) + bias.abs())).all()
    seen = found.support_cells.double().flatten(1)
    left = seen.nansum(1) + found.support_bias.double() - score
    terms = seen.abs().nansum(1) + found.support_bias.double().abs() + found.support_weights.abs().sum((1, 2))
    assert (left.abs() <= limit * terms).all()


@pytest.mark.parametrize("similarity", ["cosine", "inner-product", "euclidean"])
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("dtype", LIMITS, ids=str)
def test_integrated_addends_add_up_on_both_sides(dtype, tail, similarity):
    encoder = encoder_of(tail, dtype)
    limit = LIMITS[dtype] if tail in SMOOTH else 1e-5
    for method in WHOLE:
        found = explained(encoder, method, dtype, similarity=similarity)
        assert found.cells.dtype == dtype
        assert_adds_up(found, limit)
        receipt = found[0].receipt()
        assert receipt.residual <= limit * receipt.absolute_sum


@pytest.mark.parametrize("rule", ["prototype", "knn-vote", "nearest-neighbor", "logistic-regression"])
def test_every_rule_is_integrated(rule):
    similarity = "inner-product" if rule == "logistic-regression" else "cosine"
    for method in ("exact", "contrast"):
        assert_adds_up(explained(encoder_of("netvlad"), method, rule=rule, similarity=similarity), 1e-10)


@pytest.mark.parametrize("similarity", ["cosine", "inner-product"])
def test_behind_a_linear_tail_they_are_the_exact_ones(similarity):
    network = own_tail("linear")
    head = nn.Linear(CHANNELS, 4).double()
    head.weight.data, head.bias.data = network.centers.data, torch.full((4,), 0.3, dtype=torch.float64)
    exact = Encoder.wrap(network, "maps", head=head)
    for method in ("exact", "contrast"):
        found = explained(encoder_of("linear"), method, similarity=similarity)
        known = explained(exact, method, similarity=similarity)
        assert torch.allclose(found.exact_score, known.exact_score, rtol=0, atol=1e-12)
        for name in ("cells", "contributions", "bias", "support_cells", "support_bias"):
            both = getattr(found, name).nan_to_num(), getattr(known, name).nan_to_num()
            assert torch.allclose(*both, rtol=0, atol=1e-12), name
        assert torch.allclose(found.support_shares, known.support_shares, rtol=0, atol=1e-12)


def test_zero_maps_have_the_score_of_delta_zero():
    encoder = encoder_of("max")
    found = explained(encoder, "exact", similarity="euclidean", target="a")
    at_zero = own_tail("max").tail(torch.zeros(1, CHANNELS, 3, 4).double(), own_tail("max").centers)
    known = euclidean.pairwise(at_zero.detach(), encoder(supports()["a"]).embedding).mean()
    assert torch.allclose(found.bias, known.expand(2))


@pytest.mark.parametrize("layout", ["channels-last", "tokens"])
def test_other_layouts_have_the_same_addends(layout):
    first = Encoder.wrap(own_tail("netvlad"), "maps", tail="network", layout="channels-first")
    other = Encoder.wrap(own_tail("netvlad", layout=layout), "maps", tail="network", layout=layout)
    query, shown = square_images(2, seed=1), square_images(2, 1, seed=2)
    known, found = (explain(encoder, query, shown, method="contrast") for encoder in (first, other))
    assert torch.allclose(found.cells, known.cells)
    assert torch.allclose(found.support_cells, known.support_cells)


class PassingBy(OwnTail):
    """Something of the image reaches the embedding beside the layer, which the path leaves as it is."""

    def forward(self, batch):
        return super().forward(batch) + batch.mean(dim=(-2, -1)).sum(dim=1, keepdim=True)


def test_what_passes_by_the_layer_is_in_delta_zero():
    torch.manual_seed(0)
    encoder = Encoder.wrap(PassingBy("netvlad").double(), "maps", tail="network", layout="channels-first")
    assert_adds_up(explained(encoder, "contrast"), 1e-10)
    assert_adds_up(explained(encoder, "contrast", similarity=LearnedSimilarity(learned), rule="prototype"), 1e-9)


def test_a_head_goes_on_from_the_network():
    encoder = encoder_of("second-order", head=nn.Sequential(nn.Linear(CHANNELS**2, 3), nn.Tanh()).double())
    assert encoder(images(2)).embedding.shape == (2, 3)
    assert encoder(images(2)).pooled.shape == (2, CHANNELS**2)
    assert_adds_up(explained(encoder, "contrast"), 1e-10)


def jump(maps, centers):
    return ((maps > 0.2).to(maps) + maps).mean(dim=(-2, -1)) @ centers.T


def test_what_does_not_add_up_in_512_steps_says_so():
    network = own_tail("linear")
    network.tail = jump
    found = explained(Encoder.wrap(network, "maps", tail="network"), "exact", similarity="inner-product")
    assert (found.residual > 1e-3 * found.absolute_sum).any()
    assert (found.query.steps <= 512).all()
    assert found[0].receipt().residual == pytest.approx(float(found.residual[0]))


def kinked(maps, centers):
    """Many ReLUs whose kinks lie at different places of the path."""
    shifts = torch.linspace(-2, 2, 40, dtype=maps.dtype)
    return torch.relu(torch.einsum("bchw,kc->bkhw", maps, centers)[..., None] - shifts).sum(dim=-1).mean(dim=(-2, -1))


def test_a_path_with_many_kinks_is_cut_until_it_adds_up():
    network = own_tail("linear")
    network.tail = kinked
    found = explained(Encoder.wrap(network, "maps", tail="network"), "contrast", similarity="inner-product")
    assert (found.residual <= 2e-5 * found.absolute_sum).all()
    assert (found.query.steps > 8).all()


class WithoutSlope(Affine):
    """What is linear in the query but for the constants of each support."""

    def pairwise(self, query, gallery):
        return super().pairwise(query, gallery) - (query @ self.slopes[0])[..., None]

    def form(self, query, support):
        return replace(super().form(query, support), query_slope=None)


@pytest.mark.parametrize("kind", [Affine, WithoutSlope])
def test_every_term_of_a_form_is_integrated(kind):
    similarity = random_affine(CHANNELS * 4)
    similarity = kind(similarity.metric, similarity.slopes)
    for method in ("exact", "contrast", "verification"):
        found = explained(encoder_of("netvlad"), method, similarity=similarity)
        assert_adds_up(found, 1e-10)
        assert found[0].receipt().residual < 1e-10


def learned(query, gallery):
    return inner_product.pairwise(query.tanh(), gallery.tanh()).sigmoid()


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype", "knn-vote"])
@pytest.mark.parametrize("tail", ["network", None])
def test_a_learned_similarity_is_integrated_behind_any_encoder(tail, rule):
    encoder = encoder_of("netvlad") if tail else Encoder.wrap(own_tail("linear"), "maps", tail="ignore")
    for method in WHOLE:
        found = explained(encoder, method, similarity=LearnedSimilarity(learned), rule=rule)
        assert_adds_up(found, 1e-9)
        totals = (found.support_weights * found.similarities).nansum((1, 2)) + sum(found.constants.values())
        assert torch.allclose(totals, found.exact_score)


def test_supports_without_images_have_no_map_behind_a_network():
    encoder = encoder_of("netvlad")
    found = explain(encoder, images(seed=3), encoder(images(4, seed=4)).unflatten(2, 2))
    assert found.support_cells.isnan().all()
    assert found.residual <= 1e-10


@pytest.mark.parametrize("method", [name for name in OF_MAPS if name not in WHOLE])
def test_other_methods_draw_or_refuse(method):
    encoder = encoder_of("netvlad")
    if method in ("fam", "ablation-cam"):
        with pytest.raises(Mistake, match=f"{method} needs embeddings that are sums over cells"):
            explained(encoder, method)
    elif method in ("grad-cam@1", "guided-backprop", "guided-grad-cam"):
        with pytest.raises(Mistake, match=r"no such maps of OwnTail were seen|but none runs in OwnTail"):
            explained(encoder, method)
    else:
        found = explained(encoder, method)
        assert found.contributions.shape == (2, CHANNELS)
        assert torch.isfinite(found.saliency).all()


def test_a_correspondence_is_refused():
    found = explained(encoder_of("netvlad"), "exact")[0]
    with pytest.raises(Mistake, match="a correspondence needs embeddings that are sums over cells"):
        correspondence(found)


def test_the_network_stays_as_it_was():
    encoder = encoder_of("max")
    encoder.network.train()
    explained(encoder, "contrast")
    assert encoder.network.training
    assert all(parameter.grad is None for parameter in encoder.network.parameters())
    assert not encoder.network.maps._forward_hooks


def detached(maps, centers):
    return (maps.mean(dim=(-2, -1)) @ centers.T).detach()


def listed(maps, centers):
    return [maps.mean(dim=(-2, -1)) @ centers.T]


def test_what_cannot_be_integrated_is_refused():
    for tail, sentence in {
        detached: "drop no_grad\\(\\) or detach\\(\\)",
        listed: "expected a network that returns one",
    }.items():
        network = own_tail("linear")
        network.tail = tail
        with pytest.raises(Mistake, match=sentence):
            explained(Encoder.wrap(network, "maps", tail="network"), "exact")
    with pytest.raises(Mistake, match="tail='network' the network itself makes the embedding, but got the pooling gmp"):
        Encoder.wrap(own_tail("linear"), "maps", tail="network", pooling="gmp")
    with pytest.raises(Mistake, match="expected a layer behind which tail='network' begins"):
        Encoder(own_tail("linear"), tail="network")


def test_nothing_is_said_of_the_tail(recwarn):
    encoder_of("netvlad")(images(2))
    assert not recwarn.list


def test_delta_zero_is_a_named_part_of_the_bias():
    found = explained(encoder_of("max"), "exact")
    assert torch.allclose(found.named[AT_ZERO], found.bias)
