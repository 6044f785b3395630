"""Decisions at several scales: the weighted mean of those at each, with one receipt and maps on the finest grid."""

import pytest
import torch
import torch.nn.functional as F
from decision_parts import ADD_UP, OPTIONS
from tiny_encoder import OF_MAPS, images, random_head, tiny_encoder

from fsl_explain import (
    METHODS,
    POOLINGS,
    Encoder,
    LearnedSimilarity,
    correspondence,
    counterfactual,
    explain,
    load_explanation,
    saliency,
    support_audit,
)
from fsl_explain.explainers.methods.lafam import mean_activation_map
from fsl_explain.finer import OWN_BIASES
from fsl_explain.heads.finest_grid import on_grid
from fsl_explain.registries import TOKEN_METHODS

SCALES, WEIGHTS = (6, 10), (0.25, 0.75)
AT = {"scales": SCALES, "scale_weights": WEIGHTS}
POOLED = [pooling for pooling in POOLINGS if pooling != "flatten"]
OF_EARLIER_MAPS = ("layercam-fused", "grad-cam@1")
SAME_AT_EVERY_SCALE = ("grad-cam", "grad-cam++", "xgrad-cam", "hirescam", "layercam", "ablation-cam")


def resized(batch, side):
    factor = side / min(batch.shape[-2:])
    size = [round(length * factor) for length in batch.shape[-2:]]
    if size == list(batch.shape[-2:]):
        return batch
    flat = F.interpolate(batch.flatten(0, -4), size=size, mode="bilinear", antialias=True, align_corners=False)
    return flat.reshape(*batch.shape[:-2], *size)


def each_scale(encoder, query, supports, **options):
    return [explain(encoder, resized(query, side), resized(supports, side), **options) for side in SCALES]


@pytest.mark.parametrize("method", ADD_UP[:2])
@pytest.mark.parametrize("head", ["none", "linear-l2", "gelu-mlp"])
@pytest.mark.parametrize("pooling", POOLED)
def test_a_decision_at_scales_is_the_mean_of_those_at_each(pooling, head, method):
    """Score, cells, channels, supports' cells and bias: each scale explained alone, weighted and brought together."""
    encoder, query, supports = tiny_encoder(random_head(head), pooling), images(2), images(3, 2, seed=1)
    for rule in ("mean-similarity", "prototype"):
        options = {"method": method, "rule": rule, "target": 0, "against": 1 if method == "contrast" else None}
        found = explain(encoder, query, supports, **AT, **options)
        alone = each_scale(encoder, query, supports, **options)
        close = {"rtol": 0, "atol": 1e-10}
        for name in ("score", "bias", "support_bias"):
            expected = sum(a * getattr(one, name) for a, one in zip(WEIGHTS, alone, strict=True))
            torch.testing.assert_close(getattr(found, name), expected, **close)
        for name in ("cells", "support_cells"):
            parts = [a * on_grid(getattr(one, name), (5, 6)) for a, one in zip(WEIGHTS, alone, strict=True)]
            torch.testing.assert_close(getattr(found, name), sum(parts), **close)
        channels = torch.cat([a * one.contributions for a, one in zip(WEIGHTS, alone, strict=True)], dim=-1)
        torch.testing.assert_close(found.contributions, channels, **close)
        torch.testing.assert_close(found.scales.scores, torch.stack([one.score for one in alone], dim=-1), **close)
        decided = [explain(encoder, resized(query, s), resized(supports, s), rule=rule) for s in SCALES]
        labels = torch.stack([one.decision.label for one in decided], dim=-1)
        assert torch.equal(found.scales.labels, labels)


@pytest.mark.parametrize("rule", ["knn-vote", "logistic-regression", "prototype"])
@pytest.mark.parametrize("method", ADD_UP)
def test_lines_of_the_scales_and_all_else_add_up(method, rule):
    encoder = tiny_encoder(random_head("linear"))
    found = explain(
        encoder, images(2), images(3, 2, seed=1), method=method, rule=rule, **OPTIONS.get(method, {}), **AT
    )[1]
    receipt = found.receipt()
    assert receipt.residual < 1e-12
    assert receipt.residual_of_scales < 1e-12
    assert [(line.side, line.weight) for line in receipt.scales] == list(zip(SCALES, WEIGHTS, strict=True))
    assert float(found.residual) < 1e-12
    assert abs(float(found.cells.sum() + found.bias - found.score)) < 1e-12
    assert abs(float(found.support_cells.sum() + found.support_bias - found.score)) < 1e-12
    assert "6 pixels" in str(receipt)
    assert "residual of the scales" in str(receipt)


def test_one_sentence_says_where_the_scales_decide_differently(tmp_path):
    encoder, supports = tiny_encoder(), images(3, 2, seed=1)
    batch = explain(encoder, images(40, seed=3), supports, **AT)
    apart = batch.scales.labels[:, 0] != batch.scales.labels[:, 1]
    assert apart.any()
    assert not apart.all()
    for index in (int(apart.int().argmax()), int((~apart).int().argmax())):
        one = batch[index]
        first, second = (f"class {label}" for label in batch.scales.labels[index].tolist())
        told = f"The scales decide differently: alone, at 6 pixels {first} and at 10 pixels {second}."
        assert (told in str(one.receipt())) == (told in repr(one)) == bool(apart[index])
    one.save(tmp_path / "one.safetensors")
    again = load_explanation(tmp_path / "one.safetensors")
    assert str(again.receipt()) == str(one.receipt())
    assert torch.equal(torch.from_numpy(again.to_numpy()["scale_scores"]), one.scales.scores)


def test_one_scale_is_that_scale():
    encoder, query, supports = tiny_encoder(random_head("linear")), images(2), images(3, 2, seed=1)
    found = explain(encoder, query, supports, scales=(10,))
    alone = explain(encoder, resized(query, 10), resized(supports, 10))
    torch.testing.assert_close(found.cells, alone.cells)
    assert found.contributions.shape == alone.contributions.shape


def test_support_audit_and_correspondence_see_all_scales():
    found = explain(tiny_encoder(random_head("linear")), images(), images(3, 2, seed=1), method="contrast", **AT)
    table = correspondence(found, label=1, shot=1)
    addend = float(found.support_weights[1, 1] * found.similarities[1, 1])
    assert table.table.sum().item() == pytest.approx(addend, abs=1e-12)
    assert table.shape == table.support_shape == (5, 6)
    audit = support_audit(found)
    without = explain(
        tiny_encoder(random_head("linear")),
        images(),
        {"0": images(3, 2, seed=1)[0, 1:], "1": images(3, 2, seed=1)[1]},
        **AT,
    )
    torch.testing.assert_close(audit.scores_without[0, 0, :2], without.decision.scores)


def test_a_correspondence_of_prototypes_is_refused_in_one_sentence():
    found = explain(tiny_encoder(), images(), images(3, 2, seed=1), rule="prototype", **AT)
    with pytest.raises(ValueError, match=r"compared as their mean, at each scale in another way; use rule='mean-simil"):
        correspondence(found)
    single = explain(tiny_encoder(), images(), images(3, 1, seed=1), rule="prototype", **AT)
    assert correspondence(single).table.sum().item() == pytest.approx(float(single.score))


def test_a_counterfactual_at_scales_flips_the_decision():
    encoder = tiny_encoder(random_head("linear")).at_scales(SCALES, WEIGHTS)
    found = counterfactual(encoder, images(), images(3, 2, seed=1))
    assert found.mask.shape == (5, 6)
    assert found.found == found.flipped_at_features


@pytest.mark.parametrize("pooling", ["gap", "gmp"])
@pytest.mark.parametrize("name", OF_MAPS)
def test_every_method_answers_for_all_scales_or_says_why_not(name, pooling):
    """Equal weights make a method of maps that of one network whose channels are those of both scales."""
    encoder, query, supports = tiny_encoder(random_head("linear"), pooling), images(2), images(3, 2, seed=1)
    options = {"method": name, "scales": SCALES, **OPTIONS.get(name, {})}
    if pooling == "gmp" and METHODS[name].pools:
        with pytest.raises(ValueError, match=r"this method pools the maps again, but at several scales"):
            explain(encoder, query, supports, **options)
        return
    if name in OF_EARLIER_MAPS:
        with pytest.raises(ValueError, match=r"maps of one forward pass, but .* sees each image more than once"):
            explain(encoder, query, supports, **options)
        return
    found = explain(encoder, query, supports, **options)
    assert found.saliency.shape == (2, 6, 8)
    assert found.cells.shape in ((2, 5, 6), (2, 6, 8))
    assert found.cells.isfinite().all()
    assert found.supports.cells.isfinite().all()


def test_lafam_is_the_mean_of_the_maps_at_each_scale():
    encoder, query = tiny_encoder(), images(2)
    found = explain(encoder, query, images(3, 2, seed=1), method="lafam", scales=SCALES)
    alone = [mean_activation_map(encoder(resized(query, side)).maps) for side in SCALES]
    expected = sum(on_grid(maps, (5, 6)) / maps[0].numel() for maps in alone) / 2 * 30
    torch.testing.assert_close(found.cells, expected)
    assert saliency(encoder.at_scales(SCALES), query).shape == (2, 6, 8)


def test_grad_cam_is_that_of_one_network_of_both_scales():
    """By hand: the derivative of the score by the pooled values is that by each cell, times their number."""
    encoder, query, supports = tiny_encoder(random_head("mlp")), images(1), images(3, 2, seed=1)
    found = explain(encoder, query, supports, method="grad-cam", target=0, **AT)
    cells = torch.zeros(5, 6, dtype=torch.float64)
    for side, weight in zip(SCALES, WEIGHTS, strict=True):
        maps = encoder(resized(query, side)).maps[0]
        leaf = maps.mean(dim=(1, 2)).requires_grad_()
        own = encoder(resized(supports, side)[0]).embedding.clone()
        score = F.cosine_similarity(encoder.head(leaf[None].clone()), own).mean()
        (gradient,) = torch.autograd.grad(score, leaf)
        cells += weight * on_grid((gradient[:, None, None] * maps).sum(dim=0), (5, 6)) / maps[0].numel()
    torch.testing.assert_close(found.cells[0], cells.clamp(min=0))


def test_fam_projects_the_channels_of_each_scale_through_its_own_head():
    encoder, query, supports = tiny_encoder(random_head("linear")), images(1), images(3, 1, seed=1)
    found = explain(encoder, query, supports, method="fam", target=0, **AT)
    seen = [(encoder(resized(query, s)), encoder(resized(supports, s)[0]), s) for s in SCALES]
    addends = [
        a * F.normalize(one.embedding, dim=-1) * F.normalize(other.embedding, dim=-1)
        for a, (one, other, _) in zip(WEIGHTS, seen, strict=True)
    ]
    total = sum(part.sum() for part in addends)
    expected = torch.cat([part @ encoder.head.weight for part in addends], dim=-1) / total.abs()
    torch.testing.assert_close(found.contributions, expected.detach())


@pytest.mark.parametrize("method", TOKEN_METHODS)
def test_methods_for_tokens_are_refused_in_one_sentence(method):
    with pytest.raises(ValueError, match=r"reads the attention of one forward pass, but TinyNetwork, at scales 6 and"):
        explain(tiny_encoder(), images(), images(3, 2, seed=1), method=method, scales=SCALES)


def test_a_learned_similarity_is_integrated_at_all_scales():
    learned = LearnedSimilarity(lambda q, g: torch.tanh(q @ g.mT) - torch.cdist(q, g))
    encoder, query, supports = tiny_encoder(random_head("mlp")), images(1), images(2, 1, seed=1)
    found = explain(encoder, query, supports, similarity=learned, target=0, **AT)[0]
    alone = each_scale(encoder, query, supports, similarity=learned, target=0)
    assert float(found.score) == pytest.approx(float(sum(a * x.score[0] for a, x in zip(WEIGHTS, alone, strict=True))))
    assert abs(float(found.cells.sum() + found.bias - found.score)) < 1e-5 * float(found.absolute_sum)


def test_mahalanobis_is_fitted_at_each_scale():
    encoder, query, supports = tiny_encoder(), images(2), images(3, 4, seed=1)
    found = explain(encoder, query, supports, similarity="mahalanobis", target=0, **AT)
    alone = each_scale(encoder, query, supports, similarity="mahalanobis", target=0)
    expected = sum(a * one.score for a, one in zip(WEIGHTS, alone, strict=True))
    torch.testing.assert_close(found.score, expected)


@pytest.mark.parametrize("pooling", ["gap", "gmp"])
@pytest.mark.parametrize("biases", ["drawn", "apart"])
@pytest.mark.parametrize("sides", [(16, 32), (16, 20)])
def test_finer_maps_at_scales_are_those_of_each_on_the_finest_grid(sides, biases, pooling):
    """Also where the grids do not divide one another; the receipt holds, on both sides."""
    encoder = Encoder.wrap(two_halvings(), pooling=pooling, head=random_head("linear", 5).double(), tail="ignore")
    generator = torch.Generator().manual_seed(0)
    query, supports = (torch.randn(*shape, 3, 16, 16, generator=generator).double() for shape in ((2,), (2, 2)))
    pullback = "gamma" if biases == "apart" else "abs"  # by which something is left apart at all
    options = {"detail": 1, "biases": biases, "pullback": pullback, "target": 0}
    found = explain(encoder, query, supports, scales=sides, **options)
    alone = [explain(encoder, resized(query, side), resized(supports, side), **options) for side in sides]
    for name in ("cells", "support_cells"):
        grid = (sides[1] // 2, sides[1] // 2)
        expected = sum(on_grid(getattr(one, name), grid) for one in alone) / 2
        torch.testing.assert_close(getattr(found, name), expected)
    for total in (
        found.cells.sum((-2, -1)) + found.bias,
        found.contributions.sum(-1) + found.bias,
        found.support_cells.sum((-4, -3, -2, -1)) + found.support_bias,
    ):
        torch.testing.assert_close(total, found.score, rtol=0, atol=1e-12)
    assert list(found.named) == ([OWN_BIASES] if biases == "apart" else [])


def test_detail_and_scales_may_be_asked_for_in_either_order():
    encoder = Encoder.wrap(two_halvings(), tail="ignore")
    batch = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    first, second = encoder.at_scales((16, 32)).with_detail(1), encoder.with_detail(1).at_scales((16, 32))
    for one in (first, second):
        assert one(batch).finer.grid == (16, 16)
        assert one.with_detail(0)(batch).finer is None
    torch.testing.assert_close(first(batch).embedding, encoder.at_scales((16, 32))(batch).embedding)


def test_lafam_is_redistributed_at_every_scale():
    encoder = Encoder.wrap(two_halvings(), tail="ignore")
    batch = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    supports = batch[None].transpose(0, 1)
    found = explain(encoder, batch, supports + 1, method="lafam", scales=(16, 32), detail=1)
    coarse = explain(encoder, batch, supports + 1, method="lafam", scales=(16, 32))
    torch.testing.assert_close(found.cells.sum((-2, -1)), coarse.cells.sum((-2, -1)))
    assert found.cells.shape == (2, 16, 16)


def two_halvings():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = torch.nn.Conv2d(3, 4, 2, stride=2), torch.nn.Conv2d(4, 5, 2, stride=2)
        return torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU()).double().eval()


@pytest.mark.parametrize("detail", [0, 1])
@pytest.mark.parametrize("sides", [(6, 12), (12, 6), (6, 8, 12)])
def test_larger_scales_are_read_a_few_images_at_a_time(sides, detail):
    """With about the pixels together that the smallest scale has, unless drawn finer; features are the same."""
    plain, batch = tiny_encoder(random_head("linear-l2")), images(9)
    if detail:
        plain = plain.with_detail(1)
    seen = []
    handle = plain.network.register_forward_pre_hook(lambda _module, given: seen.append(given[0].shape))
    try:
        found = plain.at_scales(sides)(batch)
    finally:
        handle.remove()
    pixels = {side: max(shape.numel() for shape in seen if min(shape[-2:]) == side) for side in sides}
    assert detail or max(pixels.values()) <= 1.05 * pixels[6]  # sides are rounded
    alone = [plain(resized(batch, side)) for side in sides]
    torch.testing.assert_close(found.pooled, torch.cat([one.pooled for one in alone], dim=-1))
    if detail:
        assert len(found.finer.parts()[0]) == len(batch)
