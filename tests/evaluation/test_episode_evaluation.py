"""The batched evaluation against one that explains, masks and measures query by query."""

import json

import pytest
import torch

from episodes import DigitScenes, EpisodeSampler, prepare
from fsl_explain import Encoder, explain, metrics
from fsl_explain.cli.from_settings import accuracy_of, episodes_of
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation import summarize, table_of
from fsl_explain.evaluation.figures import OF_DECISIONS as METRICS
from fsl_explain.evaluation.measurement import episode_means
from fsl_explain.explainers.methods.baselines import centered_gaussian


def settings_of(**sections):
    base = {"data": {"kind": "digit-scenes", "per_class": 8}, "episodes": {"count": 3, "n_shot": 2, "n_query": 4}}
    return EvaluationConfig.model_validate(base | sections)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=8, size=32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture(scope="module")
def measured(encoder, dataset):
    return episodes_of(settings_of(), encoder, dataset)


def one_by_one(encoder, dataset, method, episode, query, truth, rule="mean-similarity", masking=None):
    """Return (correct, drop, increase, proportion, iou, pointing) of one query, by the public functions."""
    pixels = [[prepare(dataset[int(i)], encoder.transform).pixels for i in row] for row in episode.support]
    supports = torch.stack([torch.stack(row) for row in pixels])
    image = prepare(dataset[int(query)], encoder.transform)
    explanation = explain(encoder, image.pixels, supports, method=method if method != "lafam" else "exact", rule=rule)
    label = explanation.decision.label
    if label != truth:
        return None
    saliency = explanation.saliency[None]
    if method == "lafam":
        from fsl_explain import saliency as without_supports

        saliency = without_supports(encoder, image.pixels[None], interpolation="nearest")
    mask = saliency.clamp(min=0) / saliency.max() if method in ("exact", "contrast") else saliency
    removed = 0 if masking is None else masking
    masked = image.pixels * mask[0] + removed * (1 - mask[0])
    after = explain(encoder, masked, supports, rule=rule, target=label).score
    before = explain(encoder, image.pixels, supports, rule=rule, target=label).score
    target, box = image.target_mask[None], image.target_box[None]
    return [
        100 * float(max(before - after, torch.tensor(0.0)) / before),
        100.0 * bool(before < after),
        float(metrics.proportion(saliency, target)),
        float(metrics.intersection_over_union(saliency, box)),
        float(metrics.pointing_game(saliency, target)),
    ]


@pytest.mark.parametrize("method", ["fam", "exact", "contrast", "lafam"])
def test_equals_the_evaluation_one_by_one(encoder, dataset, measured, method):
    sampler = EpisodeSampler(dataset.labels, n_way=5, n_shot=2, n_query=4, seed=0)
    position = measured.measurements.methods.index(method)
    for number in range(2):
        episode = sampler[number]
        rows = [
            one_by_one(encoder, dataset, method, episode, query, truth)
            for truth, queries in enumerate(episode.query)
            for query in queries
        ]
        correct = [row is not None for row in rows]
        assert measured.decisions.accuracy[number] == pytest.approx(sum(correct) / len(rows))
        undefined = [torch.nan] * len(METRICS)
        expected = torch.tensor([row or undefined for row in rows], dtype=torch.float64).nanmean(dim=0)
        found = torch.stack([episode_means(measured.measurements.figures[name])[position, number] for name in METRICS])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_black_pixels_and_prototypes_are_those_asked_for(encoder, dataset):
    settings = settings_of(
        explanation={"methods": ["exact"], "masking": "black"},
        decision={"rule": "prototype"},
        episodes={"count": 1, "n_shot": 2, "n_query": 4},
    )
    chunk = episodes_of(settings, encoder, dataset)
    mean, std = (torch.tensor(values)[:, None, None] for values in encoder.normalization)
    episode = EpisodeSampler(dataset.labels, n_way=5, n_shot=2, n_query=4, seed=0)[0]
    rows = [
        one_by_one(encoder, dataset, "exact", episode, query, truth, "prototype", -mean / std)
        for truth, queries in enumerate(episode.query)
        for query in queries
    ]
    undefined = [torch.nan] * len(METRICS)
    expected = torch.tensor([row or undefined for row in rows], dtype=torch.float64).nanmean(dim=0)
    assert not expected.isnan().any()
    found = torch.stack([episode_means(chunk.measurements.figures[name])[0, 0] for name in METRICS])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_decisions_are_those_of_explain(encoder, dataset, measured):
    episode, decisions = EpisodeSampler(dataset.labels, n_way=5, n_shot=2, n_query=4, seed=0)[1], measured.decisions
    pixels = [[prepare(dataset[int(i)], encoder.transform).pixels for i in row] for row in episode.support]
    queries = torch.stack([prepare(dataset[int(i)], encoder.transform).pixels for i in episode.query.flat])
    found = explain(encoder, queries, torch.stack([torch.stack(row) for row in pixels])).decision
    best, second = found.scores.double().topk(2, dim=-1).values.T
    assert decisions.image[1].tolist() == episode.query.flatten().tolist()
    assert decisions.predicted[1].tolist() == found.label.tolist()
    assert decisions.predicted_label[1].tolist() == [int(episode.classes[label]) for label in found.label]
    assert decisions.truth_label[1].tolist() == [int(dataset.labels[int(i)]) for i in episode.query.flat]
    assert (decisions.predicted[1] != decisions.truth[1]).any()
    torch.testing.assert_close(decisions.score[1], best, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(decisions.margin[1], best - second, rtol=1e-4, atol=1e-6)


def test_a_map_of_ones_drops_nothing_and_raises_nothing(measured):
    position = measured.measurements.methods.index("all-ones")
    figures = measured.measurements.figures
    correct = measured.decisions.truth == measured.decisions.predicted
    assert correct.any()
    for name in ("average_drop", "increase_in_confidence"):
        assert (figures[name][position][correct] == 0).all()
    area = figures["proportion"][position][correct]
    assert ((area > 0.01) & (area < 0.4)).all()


def test_figures_are_of_correct_decisions_only(measured):
    wrong = measured.decisions.truth != measured.decisions.predicted
    assert wrong.any()
    for figure in measured.measurements.figures.values():
        assert figure[:, wrong].isnan().all()
        assert not figure[:, ~wrong].isnan().all()


def test_two_runs_are_identical_and_batches_change_nothing(encoder, dataset, measured):
    again = episodes_of(settings_of(), encoder, dataset)
    assert json.dumps(summarize(again)) == json.dumps(summarize(measured))
    small = episodes_of(settings_of(run={"batch_size": 7}), encoder, dataset)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = episodes_of(settings_of(), encoder, dataset)
    finally:
        torch.set_num_threads(before)
    for other in (small, single):
        for name in METRICS:
            ours, theirs = (episode_means(chunk.measurements.figures[name]) for chunk in (measured, other))
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_every_image_is_embedded_once_and_only_what_needs_it_is_masked(encoder, dataset):
    seen = []
    handle = encoder.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        chunk = episodes_of(settings_of(), encoder, dataset)
    finally:
        handle.remove()
    sampler = EpisodeSampler(dataset.labels, n_way=5, n_shot=2, n_query=4, seed=0)
    unique = {int(i) for n in range(3) for part in (sampler[n].support, sampler[n].query) for i in part.flat}
    correct = int((chunk.decisions.truth == chunk.decisions.predicted).sum())
    # fam, exact, contrast and grad-cam once per query; lafam, the Gaussian and noise once per image; ones never
    assert sum(seen) == len(unique) + 4 * correct + 3 * len(unique)


def test_an_episode_without_a_correct_decision_is_counted_out(measured, encoder, dataset):
    decisions = measured.decisions
    none_right = {**vars(decisions), "predicted": (decisions.truth + 1) % 5}
    chunk = type(measured)(type(decisions)(**none_right), measured.measurements)
    assert summarize(chunk)["accuracy"]["mean"] == 0
    blank = {name: torch.full_like(value, torch.nan) for name, value in measured.measurements.figures.items()}
    empty = type(measured.measurements)(measured.measurements.methods, measured.measurements.masked_score, blank)
    summary = summarize(type(measured)(chunk.decisions, empty))
    assert summary["methods"]["fam"]["average_drop"] == {"mean": None, "half_width": None, "episodes": 0}
    assert "–" in table_of(summary, "t").rows[0]


def test_accuracy_alone_is_that_of_the_evaluation(encoder, dataset, measured):
    accuracy = accuracy_of(settings_of(), encoder, dataset)
    torch.testing.assert_close(accuracy, measured.decisions.accuracy)


def test_the_centered_gaussian_is_largest_in_the_middle_and_never_above_one():
    gaussian = centered_gaussian(9, 5)
    assert gaussian[4, 2] == gaussian.max() == 1
    assert gaussian.min() > 0
    torch.testing.assert_close(gaussian, gaussian.flip(0, 1))
