"""Raw maps beside the results: the very maps that were measured, whatever was interrupted, and read back by query."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_settings import DATA, SETTINGS, SMALL

import episodes
from fsl_explain import Encoder, explain
from fsl_explain.cli import app as explaining
from fsl_explain.evaluation import evaluate_episodes, load_maps
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.kept_maps import kept_maps
from fsl_explain.evaluation.results.saved_maps import remove_maps
from fsl_explain.explainers.methods.named import METHODS
from retrieval_explain.cli import app as retrieving
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank

METHODS_KEPT = ("contrast", "fam", "grad-cam", "lafam")


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=4, size=32)


@pytest.fixture(scope="module")
def dataset():
    return episodes.DigitScenes(per_class=4)


@pytest.fixture(scope="module")
def sampler(dataset):
    return episodes.EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=2, seed=0)


@pytest.fixture
def evaluated(encoder, dataset, sampler, tmp_path):
    def evaluate(folder="results", count=7, **options):
        maps = tmp_path / folder / "maps"
        chunk = evaluate_episodes(
            encoder, dataset, sampler=sampler, episodes=count, methods=["contrast", "fam"], maps=maps, **options
        )
        return chunk, tmp_path / folder

    return evaluate


def test_each_map_is_that_of_its_query(evaluated, encoder, dataset, sampler):
    chunk, folder = evaluated()
    saved, correct = load_maps(folder), chunk.decisions.truth == chunk.decisions.predicted
    assert len(saved) == len(METHODS_KEPT) * int(correct.sum())
    assert set(saved.index["method"].to_pylist()) == set(METHODS_KEPT)
    for one in (saved[0], saved[len(saved) // 2], saved[-1]):
        episode = sampler[one.facts["episode"]]
        image = int(episode.query.flat[one.facts["query"]])
        assert one.facts["image"] == image
        assert one.facts["class"] == one.facts["predicted"] == dataset.classes[dataset.labels[image]]
        pixels = [torch.stack([prepared(encoder, dataset, int(i)) for i in row]) for row in episode.support]
        method = METHODS[one.facts["method"]].in_tables
        found = explain(encoder, prepared(encoder, dataset, image), torch.stack(pixels), method=method)
        torch.testing.assert_close(one.cells, found.cells, atol=2e-3 * float(found.cells.abs().max()), rtol=1e-2)
        torch.testing.assert_close(one.saliency, found.saliency, atol=2e-3, rtol=1e-2)


def prepared(encoder, dataset, index):
    return episodes.prepare(dataset[index], encoder.transform).pixels


def test_small_cells_keep_their_precision():
    cells = torch.tensor([[[1e-9, -3e-9]], [[2e9, 1e5]]])
    found = kept_maps("exact", METHODS["exact"], cells, torch.tensor([0, 1]), (2, 2))
    again = found["map exact cells"].double() * found["map exact scale"][:, None, None]
    torch.testing.assert_close(again, cells.double(), rtol=1e-3, atol=0)


def test_what_is_measured_is_the_same_with_and_without(evaluated, encoder, dataset, sampler):
    chunk, _ = evaluated()
    other = evaluate_episodes(encoder, dataset, sampler=sampler, episodes=7, methods=["contrast", "fam"])
    for name, values in chunk.measurements.figures.items():
        np.testing.assert_allclose(values, other.measurements.figures[name], rtol=1e-6, atol=1e-6)


def test_a_resumed_run_has_all_maps(evaluated, tmp_path):
    partial = tmp_path / "partial"
    partial.mkdir()

    def interrupt(stage, done, _total):
        if stage == "explaining episodes" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(partial=partial, report=interrupt)
    with pytest.raises(FileNotFoundError, match=r"there is no maps/index.parquet; run it with --save-maps"):
        load_maps(tmp_path / "results")
    shutil.rmtree(tmp_path / "results" / "maps")
    _, folder = evaluated(partial=partial)
    _, whole = evaluated("whole")
    resumed, wanted = load_maps(folder), load_maps(whole)
    assert resumed.index.equals(wanted.index)
    assert all(torch.equal(one.cells, other.cells) for one, other in zip(resumed, wanted, strict=True))


def test_maps_are_opened_by_their_own_folder_too(evaluated):
    """The one that was named as ``maps``, whatever it is called."""
    _, folder = evaluated(count=1)
    found = load_maps(folder)[0]
    opened = load_maps((folder / "maps").rename(folder / "of birds"))
    assert torch.equal(opened[0].cells, found.cells)


def test_parts_without_maps_are_not_taken_for_those_with(evaluated, encoder, dataset, sampler, tmp_path):
    partial = tmp_path / "partial"
    partial.mkdir()
    evaluate_episodes(encoder, dataset, sampler=sampler, episodes=5, methods=["contrast", "fam"], partial=partial)
    _, folder = evaluated(count=5, partial=partial)
    assert len(load_maps(folder)) > 0


def test_files_of_a_run_before_are_removed(evaluated):
    evaluated(count=7)
    _, folder = evaluated(count=3)
    saved = load_maps(folder)
    assert set(saved.index["episode"].to_pylist()) <= {0, 1, 2}
    assert {file.name for file in (folder / "maps").glob("*.safetensors")} == set(saved.index["file"].to_pylist())


def test_only_maps_are_removed(evaluated):
    _, results = evaluated(count=3)
    folder = results / "maps"
    (folder / "notes.txt").write_text("mine")
    remove_maps(folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    remove_maps(folder)
    assert (folder / "notes.txt").exists()


def test_maps_are_found_by_what_the_index_says(evaluated):
    _, folder = evaluated()
    some = load_maps(folder).where(method="fam", episode=1)
    assert {(one.facts["method"], one.facts["episode"]) for one in some} <= {("fam", 1)}
    with pytest.raises(LookupError, match="unknown column 'methd'"):
        some.where(methd="fam")
    with pytest.raises(ValueError, match="expected a episode like int64, but got 'one'"):
        some.where(episode="one")
    with pytest.raises(IndexError, match="expected one of"):
        some[len(some)]


def test_a_damaged_file_is_one_sentence(evaluated):
    _, folder = evaluated()
    next((folder / "maps").glob("*.safetensors")).write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"is gone or damaged; run the evaluation with --save-maps again"):
        list(load_maps(folder))
    (folder / "maps" / "index.parquet").write_bytes(b"broken")
    with pytest.raises(ValueError, match="is no index of maps or is damaged"):
        load_maps(folder)


def test_comparisons_have_maps_too(encoder, dataset, tmp_path):
    found = compare_maps(
        encoder, dataset, methods=["exact"], shots=1, sample=2, steps=1, maps=tmp_path / "one" / "maps"
    )
    saved = load_maps(tmp_path / "one").where(method="exact")
    assert sorted(saved.index["query"].to_pylist()) == [*range(len(found.queries))]
    assert [found.queries[one["query"]] for one in saved.index.to_pylist()] == saved.index["image"].to_pylist()
    compare_label_free(encoder, dataset, methods=["eigen-cam"], sample=2, maps=tmp_path / "two" / "maps")
    assert sorted(load_maps(tmp_path / "two").where(method="lafam").index["image"].to_pylist()) == [
        *range(len(dataset))
    ]


def test_maps_of_a_bank_are_those_of_each_rule(encoder, dataset, tmp_path):
    rules = ["knn-vote", "nearest-neighbor"]
    found = evaluate_bank(encoder, dataset, methods=["contrast"], rules=rules, k=3, maps=tmp_path / "maps")
    saved = load_maps(tmp_path)
    for of in found.rules:
        correct = of.correct.nonzero()[:, 0].tolist()
        for method in ("contrast", "lafam"):
            mine = saved.where(rule=of.rule, method=method)
            assert sorted(mine.index["query"].to_pylist()) == correct
            assert mine.index["image"].to_pylist() == found.images[mine.index["query"].to_pylist()].tolist()
            assert mine.index["class"].to_pylist() == mine.index["predicted"].to_pylist()
        for one in saved.where(rule=of.rule, method="lafam"):
            maps = encoder(prepared(encoder, dataset, one.facts["image"])[None]).maps[0]
            torch.testing.assert_close(one.cells, maps.mean(dim=0), atol=2e-3 * float(maps.abs().max()), rtol=1e-2)
    both = set.intersection(*(set(of.correct.nonzero()[:, 0].tolist()) for of in found.rules))
    one, other = (saved.where(rule=rule, method="contrast", query=min(both))[0] for rule in rules)
    assert not torch.allclose(one.cells, other.cells, rtol=1e-2)


@pytest.mark.parametrize("command", ["evaluate", "compare", "retrieval"])
def test_the_option_writes_them_and_an_overwriting_run_without_it_removes_them(tmp_path, capsys, command):
    config, out = tmp_path / "small.toml", tmp_path / "results"
    config.write_text(DATA + SMALL + SETTINGS[command])
    run = (retrieving if command == "retrieval" else explaining).run
    called = [command.replace("retrieval", "evaluate"), "--config", str(config), "--out", str(out)]
    assert run([*called, "--save-maps"]) == 0
    assert "load_maps" in capsys.readouterr().err
    saved, written = load_maps(out), pq.read_table(out / "queries.parquet").to_pylist()
    assert {one.facts["image"] for one in saved} <= {row["image"] for row in written}
    assert run([*called, "--overwrite"]) == 0
    assert not (out / "maps").exists()
    assert run([*called[:3], "--save-maps"]) == 2
    assert "expected --out with --save-maps" in capsys.readouterr().err
