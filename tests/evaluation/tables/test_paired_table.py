"""Tables of stored measurements."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fsl_explain.evaluation.results.read_back import StoredResults, read_results
from fsl_explain.evaluation.tables.paired_table import comparison_table, difference_table

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.3, 0.6, 200)


def results(**methods):
    return StoredResults("birds", "queries", {name.replace("_", "-"): values for name, values in methods.items()})


STORED = results(
    exact={"proportion": IMAGES + 0.1, "average_drop": 100 * IMAGES},
    fam={"proportion": IMAGES + 0.01 * RNG.normal(size=200), "average_drop": 100 * IMAGES},
    all_ones={"proportion": IMAGES - 0.1, "average_drop": 0 * IMAGES},
)


def test_means_intervals_and_bold_entries():
    table = comparison_table("T", [STORED], ("proportion", "average_drop"))
    assert table.columns == ("method", "Proportion % ↑", "AD % ↓")
    assert [row[0] for row in table.rows] == ["exact", "fam", "all-ones"]
    half = 1.96 * 100 * IMAGES.std() / np.sqrt(200)
    assert table.rows[0][1] == f"{100 * IMAGES.mean() + 10:.2f} ± {half:.2f}"
    assert table.bold == {(0, 1)}  # and not the trivial map that wins the other column
    assert any("AD % ↓ has a trivial map as its best: all-ones in birds" in note for note in table.notes)
    assert not any("Proportion % ↑ has" in note for note in table.notes)


HARD = np.where(np.arange(200) < 160, 0.2, 0.7) + 0.01 * RNG.normal(size=200)
SHY = np.where(np.arange(200) < 160, np.nan, HARD - 0.1)  # without a figure on the hard images


def test_means_over_other_units_are_named_and_choose_nothing():
    found = results(
        grad_cam={"proportion": SHY, "auc": HARD},
        exact={"proportion": HARD, "auc": HARD},
        all_ones={"proportion": HARD - 0.2, "auc": HARD},
    )
    table = comparison_table("T", [found], ("proportion", "auc"))
    assert table.rows[0][1] > table.rows[1][1]
    assert table.bold == {(1, 1)}
    fewer = "birds: Proportion % ↑ is of 200 queries, but of fewer for grad-cam (40)."
    assert [note for note in table.notes if "fewer" in note] == [fewer]
    hidden = comparison_table("T", [found], ("proportion",), ("exact",))
    assert not [note for note in hidden.notes if "fewer" in note]


def test_a_trivial_map_wins_on_shared_units_or_not_at_all():
    shy = results(exact={"proportion": HARD}, all_ones={"proportion": SHY})
    assert not [note for note in comparison_table("T", [shy], ("proportion",)).notes if "trivial map as" in note]
    rest = np.where(np.isnan(SHY), HARD, np.nan)
    apart = results(exact={"proportion": rest}, all_ones={"proportion": SHY})
    assert not [note for note in comparison_table("T", [apart], ("proportion",)).notes if "trivial map as" in note]
    first = results(exact={"proportion": SHY}, all_ones={"proportion": HARD})
    (note,) = [note for note in comparison_table("T", [first], ("proportion",)).notes if "trivial map as" in note]
    assert "all-ones in birds" in note


def test_methods_that_are_not_shown_still_take_part_in_the_test():
    rivals = {name: values for name, values in STORED.figures.items() if name != "all-ones"}
    better = {"gradient": {"proportion": IMAGES + 0.2}}
    table = comparison_table(
        "T", [StoredResults("birds", "queries", rivals | better)], ("proportion",), ("exact", "fam")
    )
    assert [row[0] for row in table.rows] == ["exact", "fam"]
    assert not table.bold


def test_trivial_maps_stand_in_every_table():
    assert [row[0] for row in comparison_table("T", [STORED], ("proportion",), ("exact",)).rows] == [
        "exact",
        "all-ones",
    ]


def test_a_figure_without_a_better_side_has_neither_arrow_nor_bold_entry():
    values = {"reference_correlation": IMAGES - 1}
    found = results(exact=values, fam={"reference_correlation": IMAGES}, all_ones={"reference_correlation": IMAGES - 2})
    table = comparison_table("T", [found], ("reference_correlation",))
    assert table.columns == ("method", "Other reference")
    assert not table.bold
    assert len(table.notes) == 1


def test_each_model_is_tested_alone():
    other = results(fam={"proportion": IMAGES}, all_ones={"proportion": IMAGES - 0.2})
    table = comparison_table("T", [STORED, other], ("proportion",))
    assert table.columns[:2] == ("model", "method")
    assert table.names == 2
    assert table.bold == {(0, 2), (3, 2)}


def test_what_is_not_measured_is_a_dash():
    others = results(exact={"proportion": IMAGES})
    assert [row[2] for row in comparison_table("T", [STORED, others], ("proportion",), ("fam",)).rows][-1] == "–"
    partly = results(exact={"proportion": np.full(3, np.nan)}, fam={})
    assert [row[1] for row in comparison_table("T", [partly], ("proportion",)).rows] == ["–", "–"]
    assert difference_table(partly, ("proportion",), "fam").rows == [("exact", "–")]


def test_differences_from_a_method():
    table = difference_table(STORED, ("proportion", "average_drop"), "fam")
    assert [row[0] for row in table.rows] == ["exact", "all-ones"]
    mean = 100 * float(np.mean(IMAGES + 0.1 - STORED.figures["fam"]["proportion"]))
    assert table.rows[0][1].startswith(f"{mean:+.2f} [")
    assert table.rows[0][2] == "+0.00 [+0.00, +0.00]"
    assert table.bold == {(0, 1), (1, 1), (1, 2)}
    assert "Each entry is tested alone" in table.notes[0]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: comparison_table("T", [STORED], ("proportoin",)), "unknown figure 'proportoin'"),
        (lambda: comparison_table("T", [STORED], ("proportion",), ("exakt",)), "unknown method in birds 'exakt'"),
        (lambda: difference_table(STORED, ("proportion",), "lafam"), "unknown method in birds 'lafam'"),
    ],
    ids=["figure", "method", "against"],
)
def test_unknown_names(call, sentence):
    with pytest.raises(LookupError, match=sentence):
        call()


def stored_table(folder, **columns):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "queries.parquet")
    return folder


def test_figures_of_episodes_are_their_means(tmp_path):
    folder = stored_table(
        tmp_path / "run",
        method=["exact"] * 4 + ["fam"] * 4,
        episode=[0, 0, 1, 1] * 2,
        correct=[True, False, True, True] * 2,
        proportion=[0.2, np.nan, 0.4, 0.6, np.nan, np.nan, 0.1, 0.3],
    )
    (found,) = read_results(folder)
    assert (found.name, found.unit) == ("run", "episodes")
    np.testing.assert_allclose(found.figures["exact"]["proportion"], [0.2, 0.5])
    np.testing.assert_allclose(found.figures["fam"]["proportion"], [np.nan, 0.2])
    np.testing.assert_allclose(found.figures["fam"]["accuracy"], [0.5, 1.0])


def test_every_rule_of_a_bank_is_an_entry_of_its_own(tmp_path):
    folder = stored_table(tmp_path / "bank", rule=["a", "a", "b", "b"], method=["exact"] * 4, auc=[0.1, 0.2, 0.3, 0.4])
    found = read_results(folder)
    assert [(one.name, one.unit) for one in found] == [("bank, a", "queries"), ("bank, b", "queries")]
    assert found[1].figures["exact"]["auc"].tolist() == [0.3, 0.4]


def test_a_sample_and_all_images_of_a_comparison_are_two_entries(tmp_path):
    folder = stored_table(
        tmp_path / "birds",
        method=["relax"] * 3 + ["exact"] * 3 + ["all-ones"] * 3,
        sampled=[False, True, True] * 3,
        correct=[True] * 9,
        auc=[np.nan, 0.7, 0.8, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5],
        insertion=[np.nan, 2.0, 3.0] * 3,
        deletion=[np.nan] * 9,
    )
    every, sample = read_results(folder)
    assert (every.name, sample.name) == ("birds, 3 images", "birds, 2 images")
    assert list(every.figures) == ["exact", "all-ones"]
    assert every.figures["exact"]["auc"].tolist() == [0.1, 0.2, 0.3]
    assert {method: values["auc"].tolist() for method, values in sample.figures.items()} == {
        "relax": [0.7, 0.8],
        "exact": [0.2, 0.3],
        "all-ones": [0.5, 0.5],
    }
    shown = comparison_table("T", [every, sample], ("auc",), ("relax",)).rows
    assert [row[1:3] for row in shown][::2] == [("relax", "–"), ("relax", "75.00 ± 6.93")]


def test_a_comparison_of_all_images_is_one_entry(tmp_path):
    folder = stored_table(tmp_path / "all", method=["relax", "exact"], sampled=[True, True], auc=[0.1, 0.2])
    assert [one.name for one in read_results(folder)] == ["all"]


@pytest.mark.parametrize(
    ("summary", "caveat"),
    [
        ({"classes_seen_in_training": ["a", "b"]}, "The encoder was trained on 2 of the 7 classes (a, b)."),
        ({"classes_seen_in_training": []}, None),
        ({"classes_seen_in_training": None}, None),
        ({}, None),
        (None, "There is no summary.json beside the figures: what they were measured on is not known."),
    ],
    ids=["met", "not met", "unknown", "older", "no summary"],
)
def test_seen_classes_stand_below_every_table(tmp_path, summary, caveat):
    folder = stored_table(tmp_path / "run", method=["exact", "fam"], auc=[0.1, 0.2])
    if summary is not None:
        text = json.dumps({"provenance": summary | {"dataset": {"classes": 7}}})
        (folder / "summary.json").write_text(text)
    (found,) = read_results(folder)
    assert found.caveats == (() if caveat is None else (caveat,))
    for table in (comparison_table("T", [found], ("auc",)), difference_table(found, ("auc",), "fam")):
        assert [note.removeprefix("run: ") for note in table.notes[1 : 1 + len(found.caveats)]] == list(found.caveats)


@pytest.mark.parametrize("text", ["{", "[]", '{"provenance": {"classes_seen_in_training": ["a"]}}'])
def test_a_damaged_summary_is_no_summary(tmp_path, text):
    folder = stored_table(tmp_path / "run", method=["exact"], auc=[0.1])
    (folder / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"summary.json is no summary of an evaluation or is damaged; run the"):
        read_results(folder)


def test_folders_that_hold_no_results(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"results of an evaluation in .*, but there is no queries.parquet"):
        read_results(tmp_path)
    (tmp_path / "queries.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"queries.parquet is no table of measurements or is damaged"):
        read_results(tmp_path)
    stored_table(tmp_path, rule=["a"])
    with pytest.raises(ValueError, match="expected a column method in"):
        read_results(tmp_path)
