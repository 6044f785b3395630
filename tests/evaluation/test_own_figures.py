"""Metrics of one's own by the name of a function in settings: columns beside the others, and sentences where not."""

import json
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_settings import DATA, SETTINGS, SMALL

from fsl_explain import FIGURES, Mistake
from fsl_explain.cli import app as explaining
from fsl_explain.engines.carried import plain_dumps
from fsl_explain.evaluation.figures import NEEDS
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.own_figures import chosen_figures
from fsl_explain.own_code import LOADED
from retrieval_explain.cli import app as retrieving

CODE = """
import torch
from fsl_explain import Figure


def peak_place(saliency, images, power=2):
    return saliency.flatten(1).argmax(dim=1).double() ** power + 0 * images.sum(dim=(1, 2, 3))


def kept(score, masked_score):
    return masked_score / score


def share(saliency, mask):
    return torch.nothing(saliency)


def of_pictures(picture):
    return picture


def auc(saliency):
    return saliency.amax(dim=(1, 2))


def two(saliency):
    return saliency.flatten(1)[:, :2]


def of_nothing():
    return 3


AREA = Figure("own_area", "Own area %", lambda mask: mask.flatten(1).double().mean(dim=1), ("mask",), decimals=1)
NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_metrics_of_a_test.py").write_text(CODE)
    return tmp_path


OWN = "own_metrics_of_a_test"


@pytest.mark.parametrize("place", [OWN, f"{OWN}.py", f"{{folder}}/{OWN}.py"])
def test_a_function_says_by_its_parameters_what_it_is_made_of(folder, place):
    (figure,) = chosen_figures([f"{place.format(folder=folder)}:peak_place"])
    assert (figure.name, figure.heading, figure.needs) == ("peak_place", "peak_place", ("saliency", "images"))
    maps = torch.zeros(2, 3, 4)
    maps[0, 0, 3] = maps[1, 2, 3] = 1
    assert figure.of({"saliency": maps, "images": torch.zeros(2, 3, 3, 4)}).tolist() == [9, 121]


def test_registered_ones_come_by_name_and_a_figure_as_it_is(folder):
    usual, auc, area = chosen_figures(["auc", f"{OWN}:AREA"], ["proportion"])
    assert (usual, auc) == ("proportion", "auc")
    assert (area.name, area.title) == ("own_area", "Own area % ↑")


def test_other_code_is_another_metric(folder):
    def one():
        return identity(chosen_figures([f"{OWN}.py:kept"])[0])

    before = one()
    assert one() == before
    (folder / f"{OWN}.py").write_text(CODE.replace("masked_score / score", "score / masked_score"))
    assert one() != before


@pytest.mark.parametrize("place", [OWN, f"{OWN}.py"])
def test_they_can_be_sent_to_workers(folder, place):
    figures = chosen_figures([f"{place}:peak_place", f"{place}:kept", f"{place}:peak_place"])
    again = pickle.loads(plain_dumps(figures))
    assert again[1].compute(torch.tensor([2.0]), torch.tensor([1.0])).tolist() == [0.5]


def test_files_of_one_name_are_two_modules(folder):
    files = [folder / name / f"{OWN}.py" for name in ("one", "two")]
    for factor, file in enumerate(files, start=1):
        file.parent.mkdir()
        file.write_text(f"def grown(saliency):\n    return {factor} * saliency\n")
    figures = [chosen_figures([f"{file}:grown"])[0] for file in files]
    assert [one.compute(3) for one in pickle.loads(plain_dumps(figures))] == [3, 6]
    assert set(map(str, files)) <= set(LOADED.values())  # so that workers load both


def test_code_that_failed_is_not_found_half_done(folder):
    (folder / "failing_of_a_test.py").write_text("def peak(saliency):\n    return 1\n\n\nraise OSError('no disk')\n")
    for _ in range(2):
        with pytest.raises(Mistake, match="its code failed with OSError: no disk"):
            chosen_figures(["failing_of_a_test:peak"])


def test_a_file_runs_once_as_long_as_it_stays(folder):
    counting = "with open('ran', 'a') as file:\n    file.write('x')\n\n\ndef peak(saliency):\n    return 1\n"
    (folder / "counted_of_a_test.py").write_text(counting)
    for name in ("counted_of_a_test.py:peak", "counted_of_a_test.py:peak", f"{folder}/counted_of_a_test.py:peak"):
        chosen_figures([name])
    assert (folder / "ran").read_text() == "x"


REFUSED = {
    "acu": (LookupError, "unknown figure 'acu'; did you mean 'auc'"),
    f"{OWN}:keptt": (LookupError, "unknown function of .* 'keptt'; did you mean 'kept'"),
    f"{OWN}:NUMBER": (TypeError, "expected a function as .*, but got int"),
    f"{OWN}:of_pictures": (ValueError, r"expected the parameters of .* to be of saliency, .*, but got picture; rename"),
    f"{OWN}:of_nothing": (ValueError, "but got none; rename them"),
    f"{OWN}:auc": (ValueError, "expected a name for .* that no metric has, but auc is one; rename the function"),
    "no_module_of_a_test:peak": (FileNotFoundError, "expected a Python module .* for the metric no_module"),
    "no_file_of_a_test.py:peak": (FileNotFoundError, "expected a Python file with a metric, but no_file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_metric_is_one_sentence(folder, name):
    kind, sentence = REFUSED[name]
    with pytest.raises(kind, match=sentence):
        chosen_figures([name])


def test_every_need_may_be_a_parameter(folder):
    (folder / "all_of_a_test.py").write_text(f"def every({', '.join(NEEDS)}):\n    return saliency\n")
    (figure,) = chosen_figures(["all_of_a_test:every"])
    assert figure.needs == tuple(NEEDS)


@pytest.fixture
def evaluate(folder):
    def run(command, *metrics):
        config = folder / f"{command}.toml"
        settings = SETTINGS[command] if "[explanation]" in SETTINGS[command] else f"{SETTINGS[command]}[explanation]\n"
        config.write_text(DATA + SMALL + settings + f"metrics = {json.dumps(metrics)}\n")
        app = retrieving if command == "retrieval" else explaining
        return app.run(["evaluate", "--config", str(config), "--out", str(folder / "results"), "--overwrite"])

    return run


@pytest.mark.parametrize("command", ["evaluate", "retrieval"])
def test_they_are_columns_of_tables_and_stand_in_the_summary(folder, evaluate, capsys, command):
    names = (f"{folder / OWN}.py:peak_place", f"{OWN}:kept", f"{OWN}:AREA", "auc")
    assert evaluate(command, *names) == 0
    printed = capsys.readouterr().out
    for heading in ("peak_place", "kept", "Own area % ↑", "AUC % ↑", "AD % ↓"):
        assert heading in printed
    text = (folder / "results" / "summary.json").read_text()
    summary = json.loads(text)
    methods = summary["rules"]["knn-vote"]["methods"] if command == "retrieval" else summary["methods"]
    assert {"peak_place", "kept", "own_area", "auc"} <= set(methods["fam"])
    assert f"{OWN}.py:peak_place" in summary["provenance"]["config"]["explanation"]["metrics"]
    assert str(folder) not in text
    rows = pq.read_table(folder / "results" / "queries.parquet").to_pydict()
    if command == "evaluate":
        kept = np.array(rows["masked_score"]) / np.array(rows["score"])
        np.testing.assert_allclose(np.array(rows["kept"], float), kept, rtol=1e-12)
    assert "Own area %" in (folder / "results" / "index.html").read_text()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (f"{OWN}:share", "expected a metric from own_metrics_of_a_test:share, but its code failed with AttributeError"),
        (f"{OWN}:two", "expected the figure 'two' to be a tensor of one number for each"),
        ("insertion", "the figure 'insertion' needs a function from images to their lead over the runner-up"),
        ("hits", "unknown figure 'hits'; did you mean 'hit'"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(evaluate, capsys, name, sentence):
    assert evaluate("evaluate", name) == 2
    said = capsys.readouterr().err
    assert sentence in " ".join(said.split())
    assert "Traceback" not in said


def test_nothing_is_registered(folder):
    before = list(FIGURES)
    chosen_figures([f"{OWN}:kept"])
    assert list(FIGURES) == before
