"""Rules over local features in evaluations, comparisons and mosaics: the numbers of the public functions."""

import pytest
import torch
from safetensors.torch import load_file

from episodes import DigitScenes, EpisodeSampler
from fsl_explain import Encoder, explain
from fsl_explain.classifiers import RULES, local_features
from fsl_explain.cli.app import run
from fsl_explain.cli.from_settings import mosaics_of, sizes_of
from fsl_explain.config import MosaicsConfig
from fsl_explain.evaluation import evaluate_episodes
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.measured_episodes import EMBEDDINGS, without_loss
from fsl_explain.evaluation.mosaics.explained_mosaics import fitted_head
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import crop_area, cut
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicSizes, draw_mosaics, embed_mosaics, picture_of
from fsl_explain.registries import LOCAL_RULES

SIDE = 32
every_rule = pytest.mark.parametrize("rule", LOCAL_RULES)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=SIDE)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=SIDE, seed=4)


@every_rule
def test_episodes_are_decided_as_explain_decides(encoder, dataset, rule):
    sampler = EpisodeSampler(dataset.labels, n_way=3, n_shot=2, n_query=1, seed=1)
    found = evaluate_episodes(
        encoder, dataset, sampler=sampler, episodes=2, methods=("exact", "contrast"), rule=rule, batch_size=2
    )
    for number, episode in enumerate(sampler.episodes(2)):
        supports = torch.stack([pixels(encoder, dataset, row) for row in episode.support])
        explained = explain(encoder, pixels(encoder, dataset, episode.query.flatten()), supports, rule=rule)
        assert found.decisions.predicted[number].tolist() == explained.decision.label.tolist()
        torch.testing.assert_close(
            found.decisions.score[number].float(), explained.decision.scores.amax(dim=-1), rtol=1e-5, atol=1e-6
        )


@every_rule
def test_a_mask_that_removes_nothing_changes_no_score(rule):
    """Masked queries are those of correct decisions alone, so that their batches, and FRN's rounding, are others."""
    dataset, encoder = DigitScenes(part="novel", per_class=12, size=84), Encoder.named("conv4net", seed=4)
    sampler = EpisodeSampler(dataset.labels, n_way=5, n_shot=1, n_query=3, seed=1)
    found = evaluate_episodes(
        encoder, dataset, sampler=sampler, episodes=6, methods=("all-ones",), rule=rule, batch_size=5
    )
    masked = found.measurements.masked_score[0]
    counted = masked.isfinite()
    assert counted.any()
    assert not counted.all()
    assert torch.equal(masked[counted], found.decisions.score[counted].double())


def test_masked_embeddings_are_kept_in_single_precision(encoder, dataset, tmp_path):
    """All of an image's cells in double precision would be gigabytes for a thousand images."""
    sampler = EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=1, seed=1)
    options = {"methods": ("exact",), "rule": "dn4", "partial": tmp_path}
    evaluate_episodes(encoder, dataset, sampler=sampler, episodes=1, **options)
    kept = [load_file(path)[EMBEDDINGS] for path in tmp_path.glob("images-*")]
    assert kept
    assert {values.dtype for values in kept} == {torch.float32}


def test_no_bit_of_an_embedding_is_lost():
    single = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    double = single.double() + 1e-12
    assert torch.equal(without_loss(single.double()), single)
    assert torch.equal(without_loss(double), double)
    assert without_loss(double).dtype == torch.float64


def test_a_comparison_takes_a_rule_over_cells(encoder, dataset):
    found = compare_maps(
        encoder,
        dataset,
        methods=("exact", "contrast", "grad-cam"),
        rule="dn4",
        shots=1,
        sample=2,
        steps=2,
        batch_size=8,
    )
    assert found.figures["pointing_game"].isfinite().any()


@every_rule
@pytest.mark.parametrize("head", ["none", "class-pca"])
def test_mosaics_are_those_of_explain(encoder, dataset, rule, head):
    sizes = {"count": 3, "heads": [head], "methods": ["exact", "contrast"], "rule": rule}
    settings = MosaicsConfig.model_validate({"data": {"kind": "digit-scenes"}, "mosaics": sizes})
    store, figures = mosaics_of(settings.mosaics, settings.run, encoder, dataset)
    seen = local_features(encoder).with_head(fitted_head(head, store, on_cells=True).float())
    for number, mosaic in enumerate(draw_mosaics(dataset, sizes_of(settings.mosaics))[1]):
        picture = seen.preprocess([picture_of(mosaic, dataset, "box", SIDE)])[0]
        crops = [cut(dataset[int(i)].image, crop_area(dataset[int(i)], "box"), SIDE) for i in mosaic.references]
        supports = seen.preprocess(crops)[:, None]
        for method in ("exact", "contrast"):
            against = "others" if method == "contrast" else None
            found = explain(
                seen, picture, supports, rule=rule, method=method, target=int(mosaic.target), against=against
            )
            tiles = (
                found.saliency.unflatten(0, (2, SIDE // 2)).unflatten(2, (2, SIDE // 2)).clamp(min=0).sum(dim=(1, 3))
            )
            energy = float(tiles.flatten()[mosaic.target] / tiles.sum())
            measured = figures[head].methods[method]
            assert float(measured.energy[number]) == pytest.approx(energy, rel=1e-4, abs=1e-5, nan_ok=True)
            assert not measured.residual[number] > 1e-5


def test_the_command_for_mosaics_shows_examples_by_the_rule(tmp_path, capsys):
    path = tmp_path / "local.toml"
    lines = ('[data]\nkind = "digit-scenes"\nper_class = 6', '[encoder]\nname = "conv4net"')
    path.write_text("\n".join([*lines, '[mosaics]\ncount = 2\nheads = ["class-pca"]\nrule = "max-sim"\n']))
    assert run(["mosaics", "--config", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "contrast" in capsys.readouterr().out
    assert "max-sim, cosine similarity" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize("method", ["fam", "ablation-cam"])
def test_a_method_of_pooled_values_is_refused_before_any_image_is_embedded(encoder, dataset, monkeypatch, method):
    by = {"methods": (method,), "rule": "max-sim"}
    store = embed_mosaics(local_features(encoder), dataset, MosaicSizes(count=2))
    monkeypatch.setattr(Encoder, "__call__", lambda *_: pytest.fail("an image was embedded"))
    data = {"data": {"kind": "digit-scenes"}}
    mosaics = MosaicsConfig.model_validate({**data, "mosaics": {"rule": "max-sim", "methods": [method]}})
    sampler = EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=1, seed=1)
    said = f"{method} needs one pooled value a map, but this rule compares the cells"
    for work in (
        lambda: evaluate_episodes(encoder, dataset, sampler=sampler, episodes=1, **by),
        lambda: compare_maps(encoder, dataset, shots=1, **by),
        lambda: mosaics_of(mosaics.mosaics, mosaics.run, encoder, dataset),
        lambda: evaluate_mosaics(store, local_features(encoder).pooling, heads=["none"], **by),
    ):
        with pytest.raises(ValueError, match=said):
            work()


@pytest.mark.parametrize("rule", ["max-sim", "dn4"])
def test_hirescam_says_that_a_cosine_of_cells_does_not_follow_their_length(encoder, dataset, rule):
    supports = pixels(encoder, dataset, range(0, 24, 6))[:, None]
    with pytest.raises(ValueError, match=r"sums to 0 in all of them, .* or a rule compares each by its cosine; use"):
        explain(encoder, pixels(encoder, dataset, [1]), supports, rule=rule, method="hirescam")
    found = explain(
        encoder, pixels(encoder, dataset, [1]), supports, rule=rule, method="hirescam", similarity="inner-product"
    )
    assert found.cells.isfinite().all()


def pixels(encoder, dataset, rows):
    return encoder.preprocess([dataset[int(row)].image for row in rows])


def test_all_rules_over_cells_are_here():
    assert all(hasattr(RULES[rule], "of_channels") for rule in LOCAL_RULES)
