"""Supports seen at sides of their own: each scale of the query beside them, with one receipt and no road in between."""

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from decision_parts import ADD_UP, OPTIONS
from PIL import Image
from tiny_encoder import OF_MAPS, images, random_head, tiny_encoder

import fsl_explain
from episodes import DigitScenes, EpisodeSampler, ImageFolder
from fsl_explain import Encoder, correspondence, counterfactual, explain, support_audit
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.served import encoder_call
from fsl_explain.config import EncoderConfig
from fsl_explain.evaluation import accuracy_over_episodes
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.mosaics.explained_mosaics import fitted_head
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes, crop_area, cut
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.evaluation.run_identity import run_hash
from fsl_explain.explainers.compared import QueryAmongSupports
from fsl_explain.heads.finest_grid import on_grid
from fsl_explain.serve.episode import Support, SupportFolder
from fsl_explain.serve.uploads import Uploads
from retrieval_explain import MemoryBank

SCALES, WEIGHTS = (6, 10), (0.25, 0.75)
AT = {"scales": SCALES, "scale_weights": WEIGHTS}
OWN = {(6,): (6, 6), (12,): (12, 12), (10, 6): (10, 6), (8, 14): (8, 14)}
"""Sides of supports as they are given, and one for each scale."""
GRIDS = {6: (3, 4), 8: (4, 5), 10: (5, 6), 12: (6, 8), 14: (7, 9)}  # of images of 6 × 8, resized
CLOSE = {"rtol": 0, "atol": 1e-10}


def resized(batch, side):
    factor = side / min(batch.shape[-2:])
    size = [round(length * factor) for length in batch.shape[-2:]]
    if size == list(batch.shape[-2:]):
        return batch
    flat = F.interpolate(batch.flatten(0, -4), size=size, mode="bilinear", antialias=True, align_corners=False)
    return flat.reshape(*batch.shape[:-2], *size)


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype"])
@pytest.mark.parametrize("method", ADD_UP[:2])
@pytest.mark.parametrize(("head", "pooling"), [("none", "gmp"), ("linear-l2", "gap"), ("gelu-mlp", "gap")])
@pytest.mark.parametrize("own", OWN)
def test_a_decision_is_the_mean_of_those_at_each_scale_beside_its_supports(own, head, pooling, method, rule):
    """Each scale explained alone, by a query and supports that were resized by hand."""
    encoder, query, supports = tiny_encoder(random_head(head), pooling), images(2), images(3, 2, seed=1)
    options = {"method": method, "rule": rule, "target": 0, "against": 1 if method == "contrast" else None}
    found = explain(encoder, query, supports, support_scales=own, **AT, **options)
    alone = [
        explain(encoder, resized(query, side), resized(supports, beside), **options)
        for side, beside in zip(SCALES, OWN[own], strict=True)
    ]
    for name in ("score", "bias", "support_bias"):
        expected = sum(a * getattr(one, name) for a, one in zip(WEIGHTS, alone, strict=True))
        torch.testing.assert_close(getattr(found, name), expected, **CLOSE)
    for name, grid in {"cells": GRIDS[10], "support_cells": GRIDS[max(OWN[own])]}.items():
        parts = [a * on_grid(getattr(one, name), grid) for a, one in zip(WEIGHTS, alone, strict=True)]
        torch.testing.assert_close(getattr(found, name), sum(parts), **CLOSE)
    channels = torch.cat([a * one.contributions for a, one in zip(WEIGHTS, alone, strict=True)], dim=-1)
    torch.testing.assert_close(found.contributions, channels, **CLOSE)
    torch.testing.assert_close(found.scales.scores, torch.stack([one.score for one in alone], dim=-1), **CLOSE)
    labels = torch.stack([one.decision.scores.argmax(dim=-1) for one in alone], dim=-1)
    assert torch.equal(found.scales.labels, labels)


def test_score_and_cells_by_hand():
    """Σ_s a_s mean_k cos(z_s, q_k) in plain loops; a cell of channel c is a_s mean_k A_c q_kc / (h w ‖z_s‖ ‖q_k‖)."""
    encoder, query, supports = tiny_encoder(), images(1), images(2, 3, seed=1)
    found = explain(encoder, query, supports, support_scales=(8, 12), target=1, **AT)
    score, cells = 0.0, [[0.0] * 6 for _ in range(5)]
    for side, beside, weight in zip(SCALES, (8, 12), WEIGHTS, strict=True):
        seen = encoder(resized(query, side)).maps[0].tolist()
        z = [sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in seen]
        for shot in encoder(resized(supports, beside)[1]).pooled.tolist():
            factor = weight / 3 / sqrt(sum(v * v for v in z)) / sqrt(sum(v * v for v in shot))
            score += factor * sum(a * b for a, b in zip(z, shot, strict=True))
            fine = [[0.0] * len(seen[0][0]) for _ in seen[0]]
            for plane, value in zip(seen, shot, strict=True):
                for y, row in enumerate(plane):
                    for x, one in enumerate(row):
                        fine[y][x] += factor * one * value / (len(plane) * len(row))
            for y, row in enumerate(on_grid(torch.tensor(fine, dtype=torch.float64), (5, 6)).tolist()):
                cells[y] = [before + more for before, more in zip(cells[y], row, strict=True)]
    assert float(found.score[0]) == pytest.approx(score, abs=1e-12)
    torch.testing.assert_close(found.cells[0], torch.tensor(cells, dtype=torch.float64), **CLOSE)


def test_the_sides_of_the_query_are_no_sides_of_their_own():
    encoder = tiny_encoder()
    assert encoder.at_scales(SCALES, WEIGHTS, SCALES).scales == encoder.at_scales(SCALES, WEIGHTS).scales
    assert encoder.at_scales(SCALES, None, (6,)).scales == encoder.at_scales(SCALES, None, (6, 6)).scales
    assert encoder.at_scales(SCALES).of_supports.scales == encoder.at_scales(SCALES).scales
    assert encoder.of_supports.scales is encoder.of_queries.scales is None
    assert "at scales 6 and 10, supports at 8" in encoder.at_scales(SCALES, None, (8,)).description
    assert "at scales 6 and 10, supports at 8 and 6" in encoder.at_scales(SCALES, None, (8, 6)).description
    again = encoder.at_scales(SCALES, None, (8,)).at_scales(SCALES)
    assert again.scales.support_sides is None


def test_photographs_are_prepared_for_the_larger_of_both():
    found = [Encoder.named("conv4net", size=8).at_scales((8, 12), None, own).image_size for own in (None, (8,), (20,))]
    assert found == [12, 12, 20]


@pytest.mark.parametrize("rule", ["knn-vote", "logistic-regression", "prototype"])
@pytest.mark.parametrize("method", ADD_UP)
def test_lines_of_the_scales_and_all_else_add_up(method, rule):
    encoder = tiny_encoder(random_head("linear"))
    options = {"method": method, "rule": rule, **OPTIONS.get(method, {}), **AT}
    found = explain(encoder, images(2), images(3, 2, seed=1), support_scales=(12,), **options)[1]
    receipt = found.receipt()
    assert max(receipt.residual, receipt.residual_of_scales, float(found.residual)) < 1e-12
    assert abs(float(found.cells.sum() + found.bias - found.score)) < 1e-12
    assert abs(float(found.support_cells.sum() + found.support_bias - found.score)) < 1e-12
    assert found.cells.shape == GRIDS[10]
    assert found.support_cells.shape[-2:] == GRIDS[12]


def test_support_audit_and_correspondence_are_of_the_supports_as_they_were_seen():
    encoder, supports = tiny_encoder(random_head("linear")), images(3, 2, seed=1)
    found = explain(encoder, images(), supports, method="contrast", support_scales=(12,), **AT)
    table = correspondence(found, label=1, shot=1)
    addend = float(found.support_weights[1, 1] * found.similarities[1, 1])
    assert table.table.sum().item() == pytest.approx(addend, abs=1e-12)
    assert (table.shape, table.support_shape) == (GRIDS[10], GRIDS[12])
    rest = {"0": supports[0, 1:], "1": supports[1]}
    without = explain(encoder, images(), rest, support_scales=(12,), **AT)
    torch.testing.assert_close(support_audit(found).scores_without[0, 0, :2], without.decision.scores)


@pytest.mark.parametrize("edit", ["replace", "remove"])
def test_a_counterfactual_decides_the_edited_image_as_a_query(edit):
    encoder = tiny_encoder(random_head("linear")).at_scales(SCALES, WEIGHTS, (12,))
    supports = images(3, 2, seed=1)
    found = counterfactual(encoder, images(), supports, edit=edit)
    assert found.mask.shape == GRIDS[10]
    before = explain(encoder, images(), supports).decision.scores
    torch.testing.assert_close(found.scores_before, before)


@pytest.mark.parametrize("biases", ["drawn", "apart"])
def test_finer_maps_hold_on_both_sides(biases):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (
            torch.nn.Conv2d(3, 4, 2, stride=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(4, 5, 2, stride=2),
            torch.nn.ReLU(),
        )
    encoder = Encoder.wrap(torch.nn.Sequential(*layers).double().eval(), tail="ignore")
    generator = torch.Generator().manual_seed(0)
    query, supports = (torch.randn(*shape, 3, 16, 16, generator=generator).double() for shape in ((2,), (2, 2)))
    options = {"detail": 1, "biases": biases, "pullback": "gamma" if biases == "apart" else "abs", "target": 0}
    found = explain(encoder, query, supports, scales=(16, 32), support_scales=(20,), **options)
    alone = [explain(encoder, resized(query, side), resized(supports, 20), **options) for side in (16, 32)]
    for name, grid in {"cells": (16, 16), "support_cells": (10, 10)}.items():
        torch.testing.assert_close(getattr(found, name), sum(on_grid(getattr(one, name), grid) for one in alone) / 2)
    torch.testing.assert_close(found.cells.sum((-2, -1)) + found.bias, found.score, **CLOSE)
    torch.testing.assert_close(found.support_cells.sum((1, 2, 3, 4)) + found.support_bias, found.score, **CLOSE)


@pytest.mark.parametrize("name", [name for name in OF_MAPS if name not in ("layercam-fused", "grad-cam@1")])
def test_every_method_answers_for_supports_of_another_size(name):
    encoder = tiny_encoder(random_head("linear"))
    options = {"method": name, "scales": SCALES, "support_scales": (12,), **OPTIONS.get(name, {})}
    found = explain(encoder, images(2), images(3, 2, seed=1), **options)
    assert found.saliency.shape == (2, 6, 8)
    assert found.cells.isfinite().all()
    assert found.supports.cells.isfinite().all()


def test_features_and_embeddings_of_supports_stand_for_their_images():
    encoder, query, supports = tiny_encoder().at_scales(SCALES, WEIGHTS, (8,)), images(2), images(3, 2, seed=1)
    found = explain(encoder, query, supports)
    features = encoder.of_supports(supports.flatten(0, 1)).unflatten(3, 2)
    for given in (features, features.embedding):
        torch.testing.assert_close(explain(encoder, query, given).score, found.score)
    torch.testing.assert_close(explain(encoder, query, features).support_cells, found.support_cells)


def test_a_query_among_its_supports_is_told_of_though_it_is_seen_otherwise():
    supports = images(3, 2, seed=1)
    with pytest.warns(QueryAmongSupports, match="query 1 is support 1 of class 2, pixel by pixel"):
        explain(tiny_encoder(), torch.stack([images(), supports[2, 1]]), supports, support_scales=(12,), **AT)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"support_scales": (6,)}, "expected support_scales together with the scales of the query, but got"),
        ({"scales": SCALES, "support_scales": (6, 7, 8)}, r"one for each of the 2 scales, but got \[6, 7, 8\]; give"),
        ({"scales": SCALES, "support_scales": (0,)}, "expected scales of 1 to 8192 pixels"),
        ({"scales": SCALES, "support_scales": ()}, "expected one side at which supports are seen, or one for each"),
    ],
)
def test_sides_that_do_not_fit_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        explain(tiny_encoder(), images(), images(3, 2, seed=1), **options)


def test_a_configuration_may_name_them():
    encoder = Encoder.from_config(EncoderConfig(name="conv4net", scales=(84, 100), support_scales=(84,)))
    assert encoder.scales.support_sides == (84, 84)
    with pytest.raises(ValueError, match=r"support_scales are of images at several scales, but there are no scales"):
        EncoderConfig(name="conv4net", support_scales=(84,))
    with pytest.raises(ValueError, match=r"expected one side of supports or one for each of 2 scales, but got 3"):
        EncoderConfig(name="conv4net", scales=(84, 100), support_scales=(84, 84, 84))


def test_where_no_image_is_a_support_alone_they_are_refused():
    """Banks, whose rows are queries too, and episodes, in which an image is now the one and now the other."""
    encoder = Encoder.named("conv4net", size=16).at_scales((16, 24), None, (16,))
    dataset = DigitScenes(part="novel", per_class=6, size=32)
    with pytest.raises(ValueError, match=r"a memory bank sees all images alike, but this encoder .*supports at 16;"):
        MemoryBank.build(encoder, dataset)
    with pytest.raises(ValueError, match=r"this measurement sees all images alike, but this encoder"):
        accuracy_over_episodes(encoder, dataset, sampler=EpisodeSampler(dataset.labels, n_query=2), episodes=1)
    with pytest.raises(ValueError, match=r"expected support_scales with supports that are images, but texts stand in"):
        explain(encoder, images(), text=["a cat", "a dog"])


def test_a_comparison_of_maps_sees_each_image_in_its_role():
    encoder = Encoder.named("conv4net", channels=6, size=16).at_scales((16, 24), None, (16,))
    dataset = DigitScenes(part="novel", per_class=3, size=32)
    found = compare_maps(encoder, dataset, methods=["contrast"], figures=["auc"], shots=1, sample=2)
    pixels = encoder.preprocess([dataset[index].image for index in range(len(dataset))])
    shown = [min(i for i in range(len(dataset)) if dataset.labels[i] == label) for label in range(len(dataset.classes))]
    others = torch.tensor([i for i in range(len(dataset)) if i not in found.queries.tolist()])
    assert len(shown) == len(others)
    supports = pixels[others][torch.tensor(dataset.labels)[others].argsort()][:, None]
    predicted = explain(encoder, pixels[found.queries], supports, rule="prototype").decision.label
    assert torch.equal(predicted, found.predicted)
    hashes = {run_hash(one, dataset, {}, contents="") for one in (encoder, encoder.of_queries)}
    assert len(hashes) == 2


def test_references_tiles_alone_and_fitting_crops_of_mosaics_are_seen_as_supports():
    encoder = Encoder.named("conv4net", channels=6, size=16, seed=4).at_scales((16, 32), None, (16,))
    dataset = DigitScenes(part="novel", per_class=6, size=32)
    store = embed_mosaics(encoder, dataset, MosaicSizes(count=4))
    single = encoder.single
    for index in [*store.references.flatten().tolist(), *store.tiles.flatten().tolist(), *store.fitting.tolist()]:
        image = dataset[index]
        alone = encoder.preprocess([cut(image.image, crop_area(image, MosaicSizes().crop), 32)])
        torch.testing.assert_close(store.crops[index], single(resized(alone, 16)).pooled[0].repeat(2))
    mosaics = store.images(encoder, slice(0, 4))
    assert mosaics.shape[-1] == 32
    seen = [single(resized(mosaics, side)).pooled for side in (16, 32)]
    torch.testing.assert_close(store.pooled, torch.cat(seen, dim=-1))
    first, second = fitted_head("class-pca", store).heads
    torch.testing.assert_close(
        first(store.crops[:2, :6].double()), second(store.crops[:2, :6].double()), equal_nan=True
    )


def test_a_served_folder_and_the_code_it_shows_see_supports_so(tmp_path):
    code = encoder_call("conv4net", None, None, None, "84,60", "84")
    made = eval(code, {"fsl_explain": fsl_explain})
    assert made.scales == named_encoder("conv4net", None, None, None, "84,60", support_scales="84").scales
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        Image.effect_noise((84, 84), 50).convert("RGB").save(tmp_path / name / "0.png")
    folder = SupportFolder(made, ImageFolder(tmp_path), Uploads(tmp_path / "given"))
    found = folder.compared("support:0", None, [Support("support:0", "a"), Support("support:1", "b")], "cosine")
    pixels = made.preprocess([Image.open(tmp_path / name / "0.png") for name in ("first", "second")])
    expected = made.of_supports(pixels).embedding.double()
    torch.testing.assert_close(found.supports.embeddings[:, 0], expected)
    assert not torch.allclose(expected, made(pixels).embedding.double())
