"""The evaluation from Python alone: values and objects instead of settings, and figures of the user's own."""

import math
import pickle
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from episodes import DigitScenes, EpisodeSampler
from fsl_explain import Encoder
from fsl_explain.classifiers import RULES, SupportSet
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation import FIGURES, Figure, accuracy_over_episodes, evaluate_episodes, summarize, table_of
from fsl_explain.evaluation import episodes as module
from fsl_explain.evaluation.chosen_methods import BASELINES
from fsl_explain.evaluation.comparison.comparison_tables import comparison_tables
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.figures import LAYOUTS, NEEDS, OF_COMPARED_MAPS, OF_DECISIONS, OF_MAPS, find_figures
from fsl_explain.evaluation.measurement import episode_columns, query_columns
from fsl_explain.evaluation.results.read_back import read_results
from fsl_explain.evaluation.results.written import write_results
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.exact import EXACT
from fsl_explain.metrics import MapFigures
from fsl_explain.registries import TRANSDUCTIVE_RULES
from fsl_explain.similarities import SIMILARITIES


def peak(saliency):
    return saliency.flatten(1).amax(dim=1)


PEAK = Figure("peak", "Highest value", peak, needs=("saliency",), factor=10.0, higher_is_better=None, decimals=3)
OWN = Method(EXACT.attribute, EXACT.attribute_supports, EXACT.saliency, signed=True, name="mine")


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


@pytest.fixture
def few(dataset):
    return {
        "sampler": EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=2, seed=1),
        "episodes": 3,
        "batch_size": 5,
    }


def equal(first, second):
    for name, value in vars(first.decisions).items():
        assert torch.equal(value, getattr(second.decisions, name)), name
    assert first.measurements.methods == second.measurements.methods
    for name, value in first.measurements.figures.items():
        assert torch.equal(value.nan_to_num(7), second.measurements.figures[name].nan_to_num(7)), name


def test_values_measure_what_settings_measure(encoder, dataset, few):
    settings = EvaluationConfig.model_validate(
        {
            "data": {"kind": "digit-scenes", "per_class": 6},
            "episodes": {"count": 3, "n_way": 3, "n_shot": 1, "n_query": 2, "seed": 1},
            "explanation": {"methods": ["exact"], "masking": "black"},
            "decision": {"rule": "prototype", "similarity": "euclidean"},
            "run": {"batch_size": 5},
        }
    )
    rule, similarity = RULES["prototype"], SIMILARITIES["euclidean"]
    found = evaluate_episodes(
        encoder, dataset, methods=["exact"], rule=rule, similarity=similarity, masking="black", **few
    )
    equal(found, episodes_of(settings, encoder, dataset))
    accuracy = accuracy_over_episodes(encoder, dataset, rule="prototype", similarity="euclidean", **few)
    assert torch.equal(accuracy, found.decisions.accuracy)


@pytest.mark.parametrize("rule", TRANSDUCTIVE_RULES)
def test_rules_that_look_at_all_queries_get_those_of_each_episode(rule, encoder, dataset, few):
    found = evaluate_episodes(encoder, dataset, methods=["exact"], rule=rule, similarity="euclidean", **few)
    pixels = torch.stack([encoder.preprocess([dataset[i].image])[0] for i in range(len(dataset))])
    embedded = encoder(pixels).embedding.double()
    for number, episode in enumerate(few["sampler"].episodes(few["episodes"])):
        queries, supports = embedded[episode.query.flatten()], embedded[episode.support]
        given = SupportSet(supports, torch.ones(supports.shape[:2], dtype=torch.bool), tuple("abc"), None, queries)
        scores = RULES[rule].class_scores(queries, given, SIMILARITIES["euclidean"])
        torch.testing.assert_close(found.decisions.score[number].double(), scores.amax(dim=-1), rtol=1e-4, atol=1e-4)
        assert torch.equal(found.decisions.predicted[number], scores.argmax(dim=-1))
    exact, ones = (found.measurements.masked_score[found.measurements.methods.index(m)] for m in ("exact", "all-ones"))
    right = found.decisions.truth == found.decisions.predicted
    torch.testing.assert_close(ones[right], found.decisions.score[right])
    assert not torch.equal(exact[right], ones[right])


def test_a_method_of_ones_own_stands_beside_the_baselines(encoder, dataset, few):
    found = evaluate_episodes(encoder, dataset, methods=[OWN, "exact"], figures=["proportion"], **few).measurements
    assert found.methods == ("mine", "exact", *BASELINES)
    assert torch.equal(found.figures["proportion"][0].nan_to_num(7), found.figures["proportion"][1].nan_to_num(7))
    assert list(found.figures) == ["proportion"]
    assert found.masked_score.isnan().all()  # no figure asks for it, so nothing is masked


def test_a_figure_of_ones_own_has_its_column_and_its_heading(encoder, dataset, few, tmp_path, monkeypatch):
    chunk = evaluate_episodes(encoder, dataset, methods=["lafam"], figures=[PEAK, "average_drop"], **few)
    values = chunk.measurements.figures["peak"]
    ones = chunk.measurements.methods.index("all-ones")
    correct = chunk.decisions.truth == chunk.decisions.predicted
    assert (values[ones][correct] == 1).all()
    assert values[:, ~correct].isnan().all()
    assert query_columns(chunk, dataset.classes, dataset.paths)["peak"].tolist() == pytest.approx(
        values.flatten().tolist(), nan_ok=True
    )
    assert len(episode_columns(chunk)["peak"]) == 3 * len(chunk.measurements.methods)
    summary = summarize(chunk)
    table = table_of(summary, "mine", chunk.measurements.shown)
    assert table.columns == ("method", "Highest value", "AD % ↓")
    assert table.rows[ones][1] == "10.000 ± 0.000"
    untold = table_of(summary, "mine")  # without its Figure it stands there under its name, as it was computed
    assert (untold.columns[1], untold.rows[ones][1]) == ("peak", "1.00 ± 0.00")
    write_results(tmp_path, summary | {"provenance": {"dataset": {"classes": 5}}}, chunk, dataset)
    assert "peak" not in read_results(tmp_path)[0].figures["lafam"]
    monkeypatch.setitem(FIGURES, "peak", PEAK)  # registered, it is known wherever figures are named
    assert "peak" in read_results(tmp_path)[0].figures["lafam"]
    assert table_of(summary, "mine").columns == table.columns
    compared = compare_maps(encoder, dataset, methods=["exact"], figures=["auc", "peak"], shots=2, sample=3)
    assert [*compared.figures] == ["auc", "peak"]
    assert "Highest value" in comparison_tables(compared, "t", "net")[0].columns
    alone = compare_label_free(encoder, dataset, methods=["eigen-cam"], figures=["peak"], sample=3)
    assert float(alone.figures["peak"][alone.methods.index("all-ones"), 0]) == 1


def test_every_registered_figure_can_be_computed(encoder, dataset):
    names = [name for name, figure in FIGURES.items() if figure.compute is not None]
    of_maps = [name for name in names if not FIGURES[name].per_query]
    found = compare_maps(encoder, dataset, methods=["exact"], figures=of_maps, shots=2, sample=4, steps=2)
    for name in of_maps:
        assert not found.figures[name][found.methods.index("exact"), found.sampled].isnan().all(), name
    assert set(names) - set(of_maps) <= set(OF_DECISIONS)
    assert {name for names in (*LAYOUTS.values(), OF_COMPARED_MAPS) for name in names} <= set(FIGURES)
    assert tuple(MapFigures.__dataclass_fields__) == OF_MAPS
    assert set(LAYOUTS["lafam"]) == set(OF_MAPS)
    assert all(name == figure.name for name, figure in FIGURES.items())


def test_the_fast_figures_are_those_of_the_registry(encoder, dataset):
    fast = compare_label_free(encoder, dataset, methods=["eigen-cam"], sample=3)
    for name in LAYOUTS["lafam"]:
        slow = compare_label_free(encoder, dataset, methods=["eigen-cam"], figures=[name], sample=3)
        torch.testing.assert_close(slow.figures[name], fast.figures[name], rtol=0, atol=1e-5, equal_nan=True)


def test_a_killed_run_goes_on_and_ends_the_same(encoder, dataset, few, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "EPISODES_IN_A_CHUNK", 1)
    whole = evaluate_episodes(encoder, dataset, methods=["exact"], **few)

    def kill(stage, done, total):
        if stage == "explaining episodes" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_episodes(encoder, dataset, methods=["exact"], partial=tmp_path, report=kill, **few)
    assert [path.name for path in tmp_path.glob("episodes-*")] == ["episodes-000000-1.safetensors"]
    equal(evaluate_episodes(encoder, dataset, methods=["exact"], partial=tmp_path, **few), whole)
    assert not capsys.readouterr().err
    path = tmp_path / "episodes-000001-1.safetensors"
    save_file(load_file(path), path)  # without the header that says what it is
    equal(evaluate_episodes(encoder, dataset, methods=["exact"], partial=tmp_path, **few), whole)
    assert capsys.readouterr().err == f"The finished part {path.name} is damaged; it is measured again.\n"


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"masking": "black"}, "another run, of other settings"),
        ({"rule": "prototype"}, "another run, of other settings"),
        ({"figures": ["proportion"]}, "another run, of other settings"),
        ({"sampler": None}, "another part"),
    ],
)
def test_parts_of_another_run_are_measured_again(encoder, dataset, few, tmp_path, capsys, changed, what):
    evaluate_episodes(encoder, dataset, methods=["exact"], partial=tmp_path, **few)
    if "sampler" in changed:
        changed = {"sampler": EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=2, seed=2)}
    values = {"methods": ["exact"]} | few | changed
    again = evaluate_episodes(encoder, dataset, partial=tmp_path, **values)
    equal(again, evaluate_episodes(encoder, dataset, **values))
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "part episodes-" in line] == [
        f"The finished part episodes-000000-3.safetensors is of {what}; it is measured again."
    ]
    assert all(line.endswith(f"is of {what}; it is measured again.") for line in said)


def test_parts_of_another_encoder_are_measured_again(encoder, dataset, few, tmp_path, capsys):
    evaluate_episodes(encoder, dataset, methods=["exact"], partial=tmp_path, **few)
    other = Encoder.named("conv4net", channels=6, size=32, seed=5)
    evaluate_episodes(other, dataset, methods=["exact"], partial=tmp_path, **few)
    assert "is of another run, of other encoder" in capsys.readouterr().err


def test_the_work_of_a_part_can_be_pickled(encoder, dataset, few, monkeypatch):
    seen = []

    class Watching:
        def map(self, make, parts):
            for position, part in enumerate(parts):
                seen.append(pickle.dumps((make, part)))
                again, same = pickle.loads(seen[-1])
                yield position, again()(same)

    values = {"methods": ["exact", "contrast"]} | few
    equal(
        evaluate_episodes(encoder, dataset, engine=Watching(), **values), evaluate_episodes(encoder, dataset, **values)
    )
    assert seen
    seen.clear()
    compare_maps(encoder, dataset, methods=["exact"], shots=2, sample=4, steps=2, engine=Watching())
    assert seen


def not_one_each(saliency):
    return saliency.mean()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"episodes": 0}, "expected at least 1 episode, but got 0"),
        ({"methods": ["exat"]}, "unknown method 'exat'; did you mean 'exact'"),
        ({"methods": [Method(EXACT.attribute, EXACT.attribute_supports, EXACT.saliency)]}, "needs a name in the table"),
        ({"figures": ["peek"]}, "unknown figure 'peek'"),
        ({"figures": ["accuracy"]}, "'accuracy' is no figure of a map, which"),
        (
            {"figures": ["insertion"]},
            r"'insertion' needs a function from images to their lead .* does not have; drop it",
        ),
        ({"figures": [Figure("both", "Both", max, ("saliency", "score"))]}, "needs both maps and scores"),
        (
            {"figures": [Figure("one", "One", not_one_each, ("saliency",))]},
            "a tensor of one number for each of .* shape",
        ),
        ({"rule": "prototypes"}, "unknown rule 'prototypes'; did you mean 'prototype'"),
        ({"similarity": "cosin"}, "unknown similarity 'cosin'; did you mean 'cosine'"),
        ({"masking": "blakc"}, "unknown masking 'blakc'; did you mean 'black'"),
        ({"iou_threshold": 1.0}, "an iou_threshold between 0 and 1, but got 1"),
        ({"batch_size": 0}, "a batch_size of at least 1, but got 0"),
        ({"engine": "loca"}, "unknown engine 'loca'; did you mean 'local'"),
        (
            {"sampler": EpisodeSampler([0, 1, 2] * 30, n_way=3, n_shot=1, n_query=2)},
            r"which has 30 images, but it draws image",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence(encoder, dataset, few, values, sentence):
    with pytest.raises(ValueError, match=sentence):
        evaluate_episodes(encoder, dataset, **({"methods": ["exact"]} | few | values))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (partial(Figure, "x", "X", peak, ("salience",)), "needs 'salience', which no evaluation has; use saliency, "),
        (partial(Figure, "a b", "X", peak, ("saliency",)), "a figure's name that can be a column, .* got 'a b'"),
        (
            partial(Figure, "x", "X", peak, ("saliency",), decimals=-1),
            "0 or more decimals of the figure 'x', but got -1",
        ),
    ],
)
def test_a_figure_that_cannot_be_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_figure_shows_numbers_with_its_factor_and_decimals():
    assert PEAK.interval({"mean": None, "half_width": None}) == "–"
    assert PEAK.interval({"mean": 0.5, "half_width": 0.01}) == "5.000 ± 0.100"
    assert FIGURES["proportion"].text(-math.inf, signed=True) == "-inf"
    assert find_figures(["auc", "auc"], list(NEEDS), "x") == (FIGURES["auc"],)
