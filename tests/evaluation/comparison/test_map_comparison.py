"""Explainers compared on annotated images, against the public functions one image at a time."""

import numpy as np
import pytest
import torch

from episodes import DigitScenes, prepare, select
from fsl_explain import Encoder, explain, metrics
from fsl_explain.cli.from_settings import comparison_of
from fsl_explain.config import ComparisonConfig
from fsl_explain.evaluation.comparison.compared_images import draw_supports
from fsl_explain.evaluation.comparison.comparison_tables import (
    comparison_columns,
    comparison_tables,
    removal_tables,
    results_of,
    summarize_comparison,
)
from fsl_explain.evaluation.figures import OF_COMPARED_MAPS as FIGURES

DATASET = DigitScenes(part="novel", per_class=5, size=32)
ENCODER = Encoder.named("conv4net", channels=6, size=32, seed=4)
METHODS = ("grad-cam", "relax", "exact", "contrast")


def settings_of(**maps):
    sizes = {"methods": METHODS, "shots": 2, "sample": 4, "relax_masks": 8, "steps": 3, "removed": "mean"} | maps
    return ComparisonConfig.model_validate(
        {"data": {"kind": "digit-scenes", "per_class": 5}, "maps": sizes, "run": {"batch_size": 3}}
    )


@pytest.fixture(scope="module")
def measured():
    return comparison_of(settings_of(), ENCODER, DATASET)


@pytest.fixture(scope="module")
def supports():
    rows = draw_supports(DATASET, 2)
    return torch.stack([torch.stack([prepare(DATASET[int(i)], ENCODER.transform).pixels for i in row]) for row in rows])


def test_supports_are_of_their_class_and_never_judged(measured):
    rows = draw_supports(DATASET, 2)
    for label, row in enumerate(rows.tolist()):
        assert {int(DATASET.labels[index]) for index in row} == {label}
        assert len(set(row)) == 2
    assert not set(measured.queries.tolist()) & set(rows.flatten().tolist())
    assert len(measured.queries) == len(DATASET) - rows.numel()
    assert not torch.equal(rows, draw_supports(DATASET, 2, seed=1))


@pytest.mark.parametrize("method", ["exact", "contrast", "grad-cam"])
def test_figures_are_those_of_explained_images(method, measured, supports):
    place = measured.methods.index(method)
    for column in (0, 7, -1):
        image = prepare(DATASET[int(measured.queries[column])], ENCODER.transform)
        explanation = explain(ENCODER, image.pixels, supports, method=method, rule="prototype")
        assert explanation.decision.label == int(measured.predicted[column])
        saliency, mask = explanation.saliency[None].float(), image.target_mask[None]
        for name, value in vars(metrics.map_figures(saliency, mask)).items():
            assert float(measured.figures[name][place, column]) == pytest.approx(float(value), abs=1e-4), name


def test_curves_are_of_the_lead_over_the_runner_up(measured, supports):
    column = int(measured.sampled.nonzero()[0])
    image = prepare(DATASET[int(measured.queries[column])], ENCODER.transform)
    whole = explain(ENCODER, image.pixels, supports, method="contrast", rule="prototype")
    target = whole.decision.label
    rival = int(whole.against.argmax())

    def lead(images):
        found = explain(ENCODER, images, supports, method="contrast", rule="prototype", target=target, against=rival)
        return found.score.float()

    for name, curve in (("insertion", metrics.insertion), ("deletion", metrics.deletion)):
        area = curve(lead, metrics.Side(image.pixels[None], whole.saliency[None].float()), steps=3).area
        found = measured.figures[name][measured.methods.index("contrast"), column]
        assert float(found) == pytest.approx(float(area), abs=1e-5)


def test_a_map_that_knows_no_reference_stays_the_same(measured):
    correlation = measured.figures["reference_correlation"]
    for method in ("lafam", "centered-gaussian", "random-blurred"):
        torch.testing.assert_close(
            correlation[measured.methods.index(method)], torch.ones(len(measured.queries)).double()
        )
    assert correlation[measured.methods.index("all-ones")].isnan().all()
    assert correlation[measured.methods.index("contrast")].nanmean() < 0.5


@pytest.mark.parametrize("method", ["exact", "contrast"])
def test_the_other_reference_shares_no_class_with_the_decision(method, measured, supports):
    drawn = np.random.default_rng(settings_of().maps.seed).integers(2, 5, len(measured.queries))
    for column in (0, 7, -1):
        image = prepare(DATASET[int(measured.queries[column])], ENCODER.transform)
        first = explain(ENCODER, image.pixels, supports, method=method, rule="prototype")
        ranked = first.decision.scores.argsort(descending=True).tolist()
        other = ranked[int(drawn[column])]
        rival = next(label for label in ranked[2:] if label != other)
        named = {"against": rival} if method == "contrast" else {}
        second = explain(ENCODER, image.pixels, supports, method=method, rule="prototype", target=other, **named)
        expected = metrics.map_correlation(first.saliency[None].double(), second.saliency[None].double())
        found = measured.figures["reference_correlation"][measured.methods.index(method), column]
        assert float(found) == pytest.approx(float(expected), abs=1e-4)


def test_contrasts_of_three_classes_cannot_be_kept_apart():
    three = select(DATASET, DATASET.classes[:3])
    found = comparison_of(settings_of(methods=("exact", "contrast")), ENCODER, three)
    correlation = found.figures["reference_correlation"]
    assert correlation[found.methods.index("contrast")].isnan().all()
    assert not correlation[found.methods.index("exact")].isnan().any()


def test_batches_of_another_size_are_measured_anew(measured, tmp_path):
    comparison_of(settings_of(), ENCODER, DATASET, tmp_path)
    settings = settings_of()
    larger = settings.model_copy(update={"run": settings.run.model_copy(update={"batch_size": 5})})
    found = comparison_of(larger, ENCODER, DATASET, tmp_path)
    for name in FIGURES:
        torch.testing.assert_close(found.figures[name], measured.figures[name], equal_nan=True, rtol=0, atol=1e-5)


def test_what_asks_the_network_again_is_measured_on_the_sample(measured):
    assert int(measured.sampled.sum()) == 4
    relax = measured.figures["auc"][measured.methods.index("relax")]
    assert torch.equal(relax.isnan(), ~measured.sampled)
    assert torch.equal(measured.figures["insertion"][0].isnan(), ~measured.sampled)
    assert not measured.figures["auc"][measured.methods.index("exact")].isnan().any()
    assert torch.equal(measured.figures["infidelity"][0].isnan(), ~measured.sampled)
    assert "relax" not in results_of(measured, "net").figures
    assert "relax" in results_of(measured, "net", measured.sampled).figures


def test_an_interrupted_run_goes_on_to_the_same_figures(measured, tmp_path, monkeypatch):
    first = comparison_of(settings_of(), ENCODER, DATASET, tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    for path in files[::3]:
        path.unlink()
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    again = comparison_of(settings_of(), ENCODER, DATASET, tmp_path)
    for name in FIGURES:
        for other in (first, again):
            torch.testing.assert_close(other.figures[name], measured.figures[name], equal_nan=True, rtol=0, atol=1e-6)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in kept} == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in files]


def test_removals_are_left_out_where_none_are_drawn():
    found = comparison_of(settings_of(methods=("exact",), removal_draws=0), ENCODER, DATASET)
    assert not any("removal" in name or name == "infidelity" for name in found.figures)
    assert removal_tables(found, "digits", "net") == ()


def test_figures_can_be_chosen_by_name(measured):
    chosen = settings_of(methods=("exact",), figures=("auc", "sparseness"))
    found = comparison_of(chosen, ENCODER, DATASET)
    assert list(found.figures) == ["auc", "sparseness"]
    exact = found.methods.index("exact"), measured.methods.index("exact")
    torch.testing.assert_close(found.figures["auc"][exact[0]], measured.figures["auc"][exact[1]])
    alone = comparison_of(settings_of(methods=(), figures=("auc",), shots=0), ENCODER, DATASET)
    assert list(alone.figures) == ["auc"]


def test_a_figure_of_removals_needs_removals():
    wrong = settings_of(methods=("exact",), figures=("infidelity",), removal_draws=0)
    with pytest.raises(ValueError, match=r"'infidelity' needs removed regions, but removal_draws is 0"):
        comparison_of(wrong, ENCODER, DATASET)


def test_tables_summary_and_columns(measured):
    tables = comparison_tables(measured, "digits", "net")
    assert [table.title for table in tables] == [
        "digits: what tells maps apart, 4 images",
        f"digits: as LaFAM's tables, {len(measured.queries)} images",
        "digits: as LaFAM's tables, 4 images",
        "net: difference from lafam",
        "net: difference from lafam",
    ]
    assert [row[0] for row in tables[0].rows] == list(measured.methods)
    removals, differences = removal_tables(measured, "digits", "net")
    assert removals.title == "digits: what removing regions really does, 4 images"
    assert removals.columns == ("method", "Removed sets ↑", "Removed sets, rank ↑", "At equal size ↑", "Infidelity % ↓")
    assert [row[0] for row in removals.rows] == list(measured.methods)
    assert len(differences.rows) == len(measured.methods) - 1
    assert "relax" not in [row[0] for row in tables[1].rows]
    summary = summarize_comparison(measured)
    assert summary["methods"]["relax"]["auc"]["images"] == 4
    assert summary["methods"]["exact"]["auc"]["mean"] == pytest.approx(float(measured.figures["auc"][2].mean()))
    assert summary["accuracy"]["mean"] == pytest.approx(float((measured.truth == measured.predicted).double().mean()))
    columns = comparison_columns(measured, DATASET.classes, DATASET.paths)
    assert {len(values) for values in columns.values()} == {len(measured.methods) * len(measured.queries)}
    first = len(measured.queries)
    assert columns["method"][first] == measured.methods[1]
    assert columns["auc"][first] == pytest.approx(float(measured.figures["auc"][1, 0]), nan_ok=True)
    assert columns["image"][first] == measured.queries[0]
    assert columns["image"][first + 1] == measured.queries[1]
    assert columns["class"][first] == DATASET.classes[int(measured.truth[0])]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"shots": 5}, "every class needs 6 images .* but class .* has 5"),
        ({"methods": ("log-probability",)}, "'log-probability' explains another; drop it"),
    ],
)
def test_settings_that_do_not_fit(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        comparison_of(settings_of(**settings), ENCODER, DATASET)
