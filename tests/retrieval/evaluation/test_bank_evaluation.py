"""The batched evaluation against one that searches, explains, masks and measures query by query."""

import json

import pytest
import torch

from episodes import DigitScenes, prepare, select
from fsl_explain import Encoder, metrics
from fsl_explain import saliency as without_supports
from fsl_explain.classifiers import named_rule
from fsl_explain.evaluation.figures import OF_DECISIONS as METRICS
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.explaining import explain_compared
from retrieval_explain import MemoryBank
from retrieval_explain.cli.evaluate import bank_of
from retrieval_explain.decisions.chosen_classes import NOBODY
from retrieval_explain.decisions.explained_neighbors import over_all, retrieve
from retrieval_explain.evaluation.evaluation_tables import bank_query_columns, bank_tables, summarize_bank
from retrieval_explain.evaluation.retrieval_evaluation import measured_methods
from retrieval_explain.settings import BankEvaluationConfig

RULES = ("knn-vote", "majority-vote", "nearest-neighbor")
K = 11


def settings_of(**sections):
    base = {
        "data": {"kind": "digit-scenes", "per_class": 6},
        "decision": {"rules": list(RULES), "k": K, "temperature": 0.05},
        "explanation": {"methods": ["exact", "contrast", "fam", "grad-cam"]},
    }
    return BankEvaluationConfig.model_validate(base | sections)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture(scope="module")
def bank(encoder, dataset):
    return MemoryBank.build(encoder, dataset)


@pytest.fixture(scope="module")
def measured(encoder, dataset):
    return bank_of(settings_of(), encoder, dataset)


def one_by_one(encoder, dataset, bank, method, rule_name, query):
    """Return None for a wrong decision, else the figures of one query by the functions for one query."""
    image = prepare(dataset[query], encoder.transform)
    retrieved = retrieve(encoder, image.pixels, bank, k=K, without=torch.tensor([query]))
    rule = over_all(named_rule(rule_name, None, 0.05 if rule_name == "knn-vote" else None), retrieved.neighbors)
    compared = retrieved.compared_by_class
    explanation = explain_compared(compared, "exact" if method == "lafam" else method, Choice(rule, "cosine"))[0]
    if explanation.decision.name != dataset.classes[dataset.labels[query]]:
        return None
    saliency = explanation.saliency[None]
    if method == "lafam":
        saliency = without_supports(encoder, image.pixels[None], interpolation="nearest")
    mask = saliency.clamp(min=0) / saliency.max() if method in ("exact", "contrast") else saliency
    own = bank.labels == dataset.labels[query]
    voters = [row for row in retrieved.neighbors.indices.tolist() if own[row]]
    voters = voters[:1] if rule_name == "nearest-neighbor" else voters
    embeddings = bank.rows.take(torch.tensor(voters)).double()
    before, after = (
        torch.nn.functional.cosine_similarity(encoder(pixels[None]).embedding.double(), embeddings).mean()
        for pixels in (image.pixels, image.pixels * mask[0])
    )
    target, box = image.target_mask[None], image.target_box[None]
    return [
        100 * float(max(before - after, torch.tensor(0.0)) / before),
        100.0 * bool(before < after),
        float(metrics.proportion(saliency, target)),
        float(metrics.intersection_over_union(saliency, box)),
        float(metrics.pointing_game(saliency, target)),
    ]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("method", ["fam", "exact", "contrast", "grad-cam", "lafam"])
def test_equals_the_evaluation_one_by_one(encoder, dataset, bank, measured, method, rule):
    figures = measured.rules[RULES.index(rule)]
    position = measured.methods.index(method)
    queries = range(0, len(dataset), 3)
    rows = [one_by_one(encoder, dataset, bank, method, rule, query) for query in queries]
    assert figures.correct[list(queries)].tolist() == [row is not None for row in rows]
    assert any(row is None for row in rows)
    undefined = [torch.nan] * len(METRICS)
    expected = torch.tensor([row or undefined for row in rows], dtype=torch.float64)
    found = torch.stack([figures.figures[name][position, list(queries)] for name in METRICS], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_every_image_is_embedded_once_and_masked_once_a_method(encoder, dataset):
    seen = []
    handle = encoder.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        measured = bank_of(settings_of(), encoder, dataset)
    finally:
        handle.remove()
    correct = torch.stack([figures.correct for figures in measured.rules])
    # exact, contrast, fam, grad-cam per rule; lafam, the Gaussian and noise once for all rules; ones never
    assert sum(seen) == len(dataset) + 4 * int(correct.sum()) + 3 * int(correct.any(dim=0).sum())


def test_progress_reaches_all_that_was_announced(encoder, dataset):
    done, totals = {}, {}

    def report(stage, count, total):
        done[stage] = done.get(stage, 0) + count
        totals.setdefault(stage, set()).add(total)

    bank_of(settings_of(), encoder, dataset, report=report)
    assert {stage: {count} for stage, count in done.items()} == totals
    assert len(totals) == 3


def test_figures_are_of_correct_decisions_only(measured):
    for figures in measured.rules:
        assert (~figures.correct).any()
        assert figures.masked_score[:, ~figures.correct].isnan().all()
        assert not figures.masked_score[:, figures.correct].isnan().any()
        for values in figures.figures.values():
            assert values[:, ~figures.correct].isnan().all()
        ones = measured.methods.index("all-ones")
        assert (figures.figures["average_drop"][ones, figures.correct] == 0).all()
        assert (figures.figures["increase_in_confidence"][ones, figures.correct] == 0).all()


def test_an_unchanged_query_keeps_its_very_score():
    """Hundreds of channels and dozens of voters round differently in batches of other shapes."""
    wide = Encoder.named("conv4net", channels=256, size=32, seed=1)
    dataset = DigitScenes(part="novel", per_class=24, size=32)
    settings = settings_of(
        decision={"rules": ["knn-vote"], "k": 60}, explanation={"methods": []}, run={"batch_size": 8}
    )
    figures = bank_of(settings, wide, dataset).rules[0]
    ones = list(measured_methods(settings.explanation.methods)).index("all-ones")
    assert torch.equal(figures.masked_score[ones, figures.correct], figures.score[figures.correct])


def test_two_runs_are_identical_and_batches_change_nothing(encoder, dataset, measured):
    again = summarize_bank(bank_of(settings_of(), encoder, dataset))
    assert json.dumps(again) == json.dumps(summarize_bank(measured))
    small = bank_of(settings_of(run={"batch_size": 7}), encoder, dataset)
    for ours, theirs in zip(measured.rules, small.rules, strict=True):
        for name in METRICS:
            torch.testing.assert_close(ours.figures[name], theirs.figures[name], rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_gallery_of_its_own_is_searched_and_classes_are_matched_by_name(encoder, dataset, measured):
    """The same images as the gallery, classes in another order and one missing: each query's nearest is itself."""
    order = (dataset.classes[3], dataset.classes[1], dataset.classes[0])
    gallery = select(dataset, order)
    found = bank_of(settings_of(), encoder, dataset, gallery)
    known = [dataset.classes[label] in order for label in dataset.labels]
    nearest = found.rules[2]
    assert found.reach == len(gallery)
    assert found.scores["recall@1"].undefined == known.count(False)
    assert nearest.correct.tolist() == known
    names = [found.classes[label] for label in found.labels.tolist()]
    assert names == [dataset.classes[label] for label in dataset.labels]
    predicted = [found.classes[label] for label in nearest.chosen.predicted.tolist()]
    assert {name for name, right in zip(predicted, known, strict=True) if not right} <= set(order)
    assert found.neighbors.similarities[known, 0] == pytest.approx(1)


def test_a_limit_spreads_the_queries_and_keeps_the_gallery(encoder, dataset, measured):
    few = bank_of(settings_of(), encoder, dataset, limit=5)
    assert few.images.tolist() == [i * len(dataset) // 5 for i in range(5)]
    assert len(few.labels.unique()) > 2
    assert few.reach == measured.reach == len(dataset) - 1
    assert torch.equal(few.neighbors.indices, measured.neighbors.indices[few.images])
    torch.testing.assert_close(few.rules[0].masked_score, measured.rules[0].masked_score[:, few.images], equal_nan=True)
    assert len(bank_of(settings_of(), encoder, dataset, limit=10**6).images) == len(dataset)


def test_one_row_per_rule_method_and_query(dataset, measured):
    columns = bank_query_columns(measured, dataset.paths, dataset.paths)
    queries, methods = len(dataset), len(measured.methods)
    assert {len(values) for values in columns.values()} == {3 * methods * queries}
    rule, method, query = 1, measured.methods.index("fam"), 7
    row = (rule * methods + method) * queries + query
    figures = measured.rules[rule]
    assert (columns["rule"][row], columns["method"][row], columns["image"][row]) == ("majority-vote", "fam", 7)
    assert columns["class"][row] == dataset.classes[dataset.labels[7]]
    assert columns["predicted"][row] == measured.classes[int(figures.chosen.predicted[7])]
    assert columns["correct"][row] == bool(figures.correct[7])
    assert columns["score"][row] == figures.score[7]
    assert columns["margin"][row] == figures.chosen.lead[7]
    for name in METRICS:
        assert torch.tensor(columns[name][row]).equal(figures.figures[name][method, 7]) or not figures.correct[7]


def test_tables_say_what_was_left_out(measured):
    summary = summarize_bank(measured)
    first, *rules = bank_tables(summary, "digits")
    assert [row[0] for row in first.rows][:5] == ["Recall@1", "Recall@2", "Recall@4", "Recall@8", "R-precision"]
    assert [table.title.partition(": ")[2].partition(" (")[0] for table in rules] == [
        "weighted k-NN vote",
        "majority vote",
        "nearest neighbor",
    ]
    assert all("same" in " ".join(table.notes) or "AD and IC" in " ".join(table.notes) for table in rules)
    changed = json.loads(json.dumps(summary))
    changed["rules"]["knn-vote"]["unopposed"] = 3
    changed["rules"]["knn-vote"]["methods"]["fam"]["left_out_of_average_drop"] = 2
    changed["retrieval"]["map@r"]["without_reference"] = 4
    changed["retrieval"]["map@r"] |= {"mean": None, "half_width": None, "optimistic": None}
    texts = [" ".join(table.notes) for table in bank_tables(changed, "digits")]
    assert "4 queries without another image of their class are left out" in texts[0]
    assert "In 3 correct decisions no other class has a neighbor" in texts[1]
    assert "AD leaves out up to 2 queries" in texts[1]
    assert bank_tables(changed, "digits")[0].rows[5][1] == "–"


def test_figures_of_places_are_left_out_where_no_image_shows_them(measured):
    summary = json.loads(json.dumps(summarize_bank(measured)))
    shown = bank_tables(summary, "digits")[1]
    assert {"Proportion % ↑", "IoU % ↑", "Pointing % ↑"} <= set(shown.columns)
    for values in summary["rules"]["knn-vote"]["methods"].values():
        for name in ("proportion", "intersection_over_union", "pointing_game"):
            values[name] |= {"mean": None, "half_width": None}
    without = bank_tables(summary, "digits")[1]
    assert [name for name in shown.columns if name not in without.columns] == [
        "Proportion % ↑",
        "IoU % ↑",
        "Pointing % ↑",
    ]
    assert "left out (Proportion, IoU, Pointing)" in without.notes[-1]
    assert without.rows[0][0] == shown.rows[0][0]


def test_decisions_without_a_rival_are_counted(encoder, dataset):
    measured = bank_of(settings_of(decision={"rules": ["nearest-neighbor"], "k": 1}), encoder, dataset)
    figures = measured.rules[0]
    assert (figures.chosen.runner_up == NOBODY).all()
    assert torch.equal(figures.chosen.lead, figures.chosen.score)
    summary = summarize_bank(measured)["rules"]["nearest-neighbor"]
    assert summary["unopposed"] == summary["correct"] > 0
    exact, contrast = (measured.methods.index(name) for name in ("exact", "contrast"))
    torch.testing.assert_close(figures.masked_score[exact], figures.masked_score[contrast], equal_nan=True)


def test_methods_that_explain_another_number_are_refused():
    assert tuple(measured_methods(settings_of().explanation.methods))[-4:] == (
        "lafam",
        "centered-gaussian",
        "random-blurred",
        "all-ones",
    )
    with pytest.raises(ValueError, match="of a class's score or of its lead, but got 'verification'; drop it"):
        measured_methods(["verification"])
    with pytest.raises(ValueError, match="expected explainers of features, but 'occlusion' asks"):
        measured_methods(["occlusion"])
    with pytest.raises(LookupError, match="unknown method 'exat'"):
        measured_methods(["exat"])


def test_an_embedding_that_cannot_be_compared_is_named(dataset):
    dead = Encoder.named("conv4net", channels=6, size=32)
    for parameter in dead.network.parameters():
        parameter.data.zero_()
    with pytest.raises(ValueError, match="of 30 queries are zero or not finite, first row 0"):
        bank_of(settings_of(), dead, dataset)
