"""What is given in another's place is refused in one sentence."""

import pytest
import torch
from tiny_encoder import tiny_encoder
from unchecked import loaded_without_shape_checks

import episodes
from fsl_explain import evaluate_episodes
from fsl_explain.evaluation.figures import FIGURES
from fsl_explain.evaluation.results.read_back import StoredResults
from fsl_explain.evaluation.tables.paired_table import comparison_table
from retrieval_explain.audit.label_audit import inject_label_noise


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("fsl_explain.evaluation.episodes", "evaluate_episodes"),
        ("fsl_explain.evaluation.episodes", "accuracy_over_episodes"),
        ("fsl_explain.evaluation.comparison.with_supports", "compare_maps"),
        ("fsl_explain.evaluation.comparison.label_free", "compare_label_free"),
        ("retrieval_explain.evaluation.retrieval_evaluation", "evaluate_bank"),
    ],
)
def test_a_data_set_in_the_place_of_the_encoder(module, name):
    call = getattr(loaded_without_shape_checks(module), name)
    with pytest.raises(TypeError, match=r"^expected an Encoder first, but got DigitScenes; the order is encoder, data"):
        call(episodes.DigitScenes(part="novel", per_class=1), tiny_encoder())


def test_only_figures_become_figures():
    figures = loaded_without_shape_checks("fsl_explain.evaluation.figures").FIGURES
    with pytest.raises(TypeError, match=r"^expected a Figure for 'bad', but got "):
        figures["bad"] = len
    assert "bad" not in FIGURES


def test_an_audit_of_no_explanation():
    audit = loaded_without_shape_checks("fsl_explain.explainers.analysis.support_audit").support_audit
    with pytest.raises(TypeError, match=r"^expected an explanation, as explain\(\) returns it, but got Encoder\.$"):
        audit(tiny_encoder())


@pytest.mark.parametrize("share", [float("inf"), float("nan")])
def test_a_share_of_labels_is_a_number(share):
    with pytest.raises(ValueError, match=r"^expected a share of the labels to flip between 0 and 1, but got "):
        inject_label_noise(torch.arange(10) % 3, share, 0)


def test_a_figure_that_was_not_measured_is_said():
    stored = StoredResults("birds", "queries", {"fam": {"proportion": torch.rand(5).double().numpy()}})
    notes = comparison_table("T", [stored], ("proportion", "pointing_game")).notes
    assert "Not measured in these results: pointing_game." in notes


def test_what_is_no_method_is_said():
    named = loaded_without_shape_checks("fsl_explain.evaluation.chosen_methods").named_methods
    with pytest.raises(TypeError, match=r"^expected methods by name or as Method\(\.\.\.\), but got int\.$"):
        named(["fam", 3])


def test_folders_may_be_texts(tmp_path):
    """Of finished parts, and of maps."""
    images = episodes.DigitScenes(part="novel", per_class=3)
    sampler = episodes.EpisodeSampler(images.labels, n_way=2, n_query=1)
    run = {"sampler": sampler, "episodes": 1, "methods": [], "figures": ["proportion"]}
    folders = {"partial": str(tmp_path / "parts"), "maps": str(tmp_path / "maps")}
    evaluate_episodes(tiny_encoder(dtype=torch.float32), images, **run, **folders)
    assert [*(tmp_path / "parts").iterdir()]
    assert (tmp_path / "maps" / "index.parquet").is_file()
