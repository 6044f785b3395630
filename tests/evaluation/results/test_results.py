"""Results on disk: whole or not at all, resumable, and the same for the same run."""

import json

import pyarrow.parquet as pq
import pytest

from episodes import DigitScenes
from fsl_explain import Encoder
from fsl_explain.cli.from_settings import episodes_of
from fsl_explain.cli.measuring import recorded as recorded_by
from fsl_explain.config import EvaluationConfig
from fsl_explain.evaluation import episodes as module
from fsl_explain.evaluation import summarize
from fsl_explain.evaluation.results.written import fingerprint, partial_folder, write_results


@pytest.fixture(scope="module")
def parts():
    settings = EvaluationConfig.model_validate(
        {
            "data": {"kind": "digit-scenes", "per_class": 4},
            "encoder": {"name": "conv4net"},
            "episodes": {"count": 4, "n_query": 2},
            "explanation": {"methods": ["exact"]},
        }
    )
    return settings, Encoder.named("conv4net", channels=4, size=32), DigitScenes(part="novel", per_class=4, size=32)


def test_an_interrupted_run_goes_on_and_ends_the_same(parts, tmp_path, monkeypatch):
    settings, encoder, dataset = parts
    monkeypatch.setattr(module, "EPISODES_IN_A_CHUNK", 2)
    whole = episodes_of(settings, encoder, dataset)

    def interrupt(stage, done, total):
        if stage == "explaining episodes" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        episodes_of(settings, encoder, dataset, tmp_path, interrupt)
    kept = sorted(path.name for path in tmp_path.glob("episodes-*"))
    assert kept == ["episodes-000000-2.safetensors"]
    calls = []
    handle = encoder.network.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    try:
        resumed = episodes_of(settings, encoder, dataset, tmp_path)
        after_resume = sum(calls)
        episodes_of(settings, encoder, dataset)
    finally:
        handle.remove()
    assert after_resume < sum(calls) - after_resume
    assert json.dumps(summarize(resumed)) == json.dumps(summarize(whole))


def test_chunks_of_other_settings_are_never_used(parts, tmp_path):
    settings, encoder, dataset = parts
    recorded = recorded_by(settings, encoder, dataset)
    other = recorded_by(
        settings.model_copy(update={"decision": settings.decision.model_copy(update={"rule": "prototype"})}),
        encoder,
        dataset,
    )
    more = recorded_by(
        settings.model_copy(update={"episodes": settings.episodes.model_copy(update={"count": 9})}), encoder, dataset
    )
    assert fingerprint(recorded) != fingerprint(other)
    assert fingerprint(recorded) == fingerprint(more)
    folder = partial_folder(tmp_path, recorded, resume=True)
    (folder / "episodes-000000.safetensors").write_bytes(b"x")
    assert list(partial_folder(tmp_path, recorded, resume=True).iterdir())
    assert not list(partial_folder(tmp_path, recorded, resume=False).iterdir())


def test_files_agree_with_the_summary(parts, tmp_path):
    settings, encoder, dataset = parts
    chunk = episodes_of(settings, encoder, dataset)
    write_results(tmp_path, summarize(chunk), chunk, dataset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episodes.parquet", "queries.parquet", "summary.json"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    episodes = pq.read_table(tmp_path / "episodes.parquet").to_pydict()
    queries = pq.read_table(tmp_path / "queries.parquet").to_pydict()
    assert len(queries["method"]) == 6 * (4 * 10)
    ours = [value for method, value in zip(episodes["method"], episodes["accuracy"], strict=True) if method == "exact"]
    assert sum(ours) / len(ours) == pytest.approx(summary["accuracy"]["mean"])
    right = [c for m, c in zip(queries["method"], queries["correct"], strict=True) if m == "exact"]
    assert sum(right) == summary["correct"]
    assert set(queries["class"]) <= set(dataset.classes)


def test_a_failure_while_writing_leaves_the_old_results(parts, tmp_path):
    settings, encoder, dataset = parts
    chunk = episodes_of(settings, encoder, dataset)
    write_results(tmp_path, summarize(chunk), chunk, dataset)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="Out of range float"):
        write_results(tmp_path, {"broken": float("nan")}, chunk, dataset)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_record_names_no_folder_of_this_machine(parts, tmp_path):
    settings, encoder, dataset = parts
    text = json.dumps(recorded_by(settings, encoder, dataset))
    assert str(tmp_path.parent) not in text
    assert "root" not in json.loads(text)["config"]["data"]
