"""Real work gives the same numbers, bit for bit, on every engine: episodes, comparisons, mosaics, banks and audits."""

import functools

import numpy as np
import PIL.Image
import pytest
import torch
from warm_engines import WITH_WORKERS, started
from workloads import PageFaults

from episodes import DigitScenes, EpisodeSampler, ImageFolder
from fsl_explain import Encoder
from fsl_explain.config import read_config
from fsl_explain.config.settings import EvaluationConfig
from fsl_explain.engine import ENGINES, EngineOptions, Part, in_order
from fsl_explain.evaluation import evaluate_episodes
from fsl_explain.evaluation.comparison.label_free import compare_label_free
from fsl_explain.evaluation.comparison.removed_regions import RegionRemovals
from fsl_explain.evaluation.comparison.with_supports import compare_maps
from fsl_explain.evaluation.mosaics.measured_mosaics import evaluate_mosaics
from fsl_explain.evaluation.mosaics.mosaic_images import MosaicSizes
from fsl_explain.evaluation.mosaics.mosaic_store import embed_mosaics
from fsl_explain.explainers.methods.relax import RelaxOptions
from retrieval_explain import MemoryBank
from retrieval_explain.audit.label_audit import audit
from retrieval_explain.evaluation.retrieval_evaluation import evaluate_bank
from retrieval_explain.store.building import append_images

FEW_FAULTS = 600  # ten passes have 1,280, one for each huge page of 2 MiB, or many more of small ones
RELAX = RelaxOptions(masks=8, batch_size=5)


@pytest.fixture(scope="module")
def dataset():
    return DigitScenes(part="novel", per_class=6, size=32)


@pytest.fixture(scope="module")
def encoder():
    return Encoder.named("conv4net", channels=6, size=32, seed=4)


def episodes(encoder, dataset, engine):
    sampler = EpisodeSampler(dataset.labels, n_way=3, n_shot=1, n_query=2, seed=1)
    values = {"sampler": sampler, "episodes": 4, "batch_size": 5, "methods": ["fam", "contrast"]}
    return evaluate_episodes(encoder, dataset, engine=engine, **values)


def comparison(encoder, dataset, engine):
    values = {"methods": ["exact", "relax"], "shots": 2, "sample": 6, "steps": 2, "batch_size": 5, "relax": RELAX}
    return compare_maps(encoder, dataset, removals=RegionRemovals(grid=3, draws=4), engine=engine, **values)


def label_free(encoder, dataset, engine):
    return compare_label_free(
        encoder, dataset, methods=["lafam", "relax"], sample=6, relax=RELAX, batch_size=5, engine=engine
    )


def mosaics(encoder, dataset, engine):
    store = embed_mosaics(encoder, dataset, MosaicSizes(4), batch_size=5)
    return evaluate_mosaics(store, encoder.pooling, heads=("none", "pca-128"), methods=["exact"], engine=engine)


def bank_evaluation(encoder, dataset, engine):
    return evaluate_bank(encoder, dataset, methods=["exact"], k=5, batch_size=5, engine=engine)


def bank(encoder, dataset, engine):
    made = MemoryBank.build(encoder, dataset, batch_size=5, engine=engine)
    return [made.rows.read(0, len(made)), made.labels, list(made.paths)]


def audited(encoder, dataset, engine):
    made = MemoryBank.build(encoder, dataset, batch_size=5)
    return audit(made, 3, engine=engine)


WORK = (episodes, comparison, label_free, mosaics, bank_evaluation, bank, audited)
LOCALLY = {}


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one.double().nan_to_num(7.5), other.double().nan_to_num(7.5))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name, value in one.items():
            assert_same(value, other[name])
    elif isinstance(one, list | tuple):
        for first, second in zip(one, other, strict=True):
            assert_same(first, second)
    elif hasattr(one, "__dict__") and not callable(one):
        assert_same(vars(one), vars(other))
    else:
        assert one == other or callable(one)


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("engine", WITH_WORKERS)
def test_it_is_the_same_as_here_bit_for_bit(engine, work, encoder, dataset, monkeypatch):
    monkeypatch.setattr("fsl_explain.evaluation.episodes.EPISODES_IN_A_CHUNK", 1)
    if work not in LOCALLY:
        LOCALLY[work] = work(encoder, dataset, "local")
    assert_same(LOCALLY[work], work(encoder, dataset, started(engine)))


def test_relax_of_twenty_images_is_twenty_parts(encoder, dataset):
    seen = []

    class Watching:
        def map(self, make, parts):
            work = make()
            for position, part in enumerate(parts):
                seen.append(part)
                yield position, work(part)

    values = {"methods": ["relax"], "sample": 20, "relax": RELAX, "figures": ["proportion"], "engine": Watching()}
    for compare in (compare_label_free, functools.partial(compare_maps, shots=1)):
        seen.clear()
        compare(encoder, dataset, **values)
        assert len([part for part in seen if part.made_of["method"] == "relax"]) == 20


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs of two classes."""
    for number in range(12):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors = np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        PIL.Image.fromarray(colors).save(path)
    return tmp_path / "images"


def files_of(bank):
    return {
        path.name: path.read_bytes() for path in bank.rglob("*") if path.is_file() and path.suffix == ".safetensors"
    }


def test_a_bank_on_disk_is_the_same_stopped_and_resumed_and_appended_to(encoder, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("retrieval_explain.store.embedding.IMAGES_IN_A_PART", 2)
    monkeypatch.setattr("retrieval_explain.store.writer.PIECE_ROWS", 2, raising=False)
    images, engine = ImageFolder(folder), started("process")
    here = MemoryBank.build(encoder, images, directory=tmp_path / "here", batch_size=2)

    def stop(_stage, done, _total):
        stop.done += done
        if stop.done >= 6:
            raise KeyboardInterrupt

    stop.done = 0
    with pytest.raises(KeyboardInterrupt):
        MemoryBank.build(encoder, images, directory=tmp_path / "there", batch_size=2, engine=engine, report=stop)
    made = MemoryBank.build(encoder, images, directory=tmp_path / "there", batch_size=2, engine=engine, resume=True)
    assert_same(here.rows.read(0, 12), made.rows.read(0, 12))
    assert here.entries.ids.tolist() == made.entries.ids.tolist()
    assert list(here.paths) == list(made.paths)
    colors = np.full((32, 32, 3), 77, np.uint8)
    PIL.Image.fromarray(colors).save(folder / "a" / "new.png")
    for bank, how in (("here", "local"), ("there", engine)):
        assert append_images(encoder, ImageFolder(folder), tmp_path / bank, batch_size=2, engine=how).new
    one, other = (MemoryBank.load(tmp_path / name) for name in ("here", "there"))
    assert_same(one.rows.read(0, 13), other.rows.read(0, 13))


def test_a_broken_image_is_told_of_in_one_sentence(encoder, folder):
    (folder / "a" / "04.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"04\.png") as here:
        MemoryBank.build(encoder, ImageFolder(folder), batch_size=2)
    with pytest.raises(ValueError, match=r"04\.png") as there:
        MemoryBank.build(encoder, ImageFolder(folder), batch_size=2, engine=started("process"))
    assert (type(here.value), str(here.value)) == (type(there.value), str(there.value))


def test_results_are_put_in_order():
    results = [(2, {"z": 2}), (0, {"z": 0}), (1, {"z": 1}), (3, {"z": 3})]
    assert [one["z"] for one in in_order(iter(results))] == [0, 1, 2, 3]


@pytest.mark.parametrize("engine", ENGINES)
def test_settings_name_it_with_its_workers(engine, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nkind = "digit-scenes"\n')
    workers = [] if engine == "local" else ["run.workers=3"]
    run = read_config(path, EvaluationConfig, [f"run.engine={engine}", "run.threads=2", *workers]).run
    assert run.chosen_engine == EngineOptions(engine, 3 if workers else None, threads=2)
    with pytest.raises(ValueError, match=r"unknown engine 'rya'; did you mean 'ray'|has no workers"):
        read_config(path, EvaluationConfig, ["run.engine=rya" if workers else "run.workers=3"])


@pytest.mark.parametrize("engine", WITH_WORKERS)
def test_workers_keep_freed_memory(tmp_path, engine):
    parts = [Part(f"number-{number}", {"number": number}) for number in range(3)]
    make = functools.partial(PageFaults, tmp_path / "made.txt")
    faults = [int(result["faults"]) for _, result in started(engine).map(make, parts)]
    assert max(faults) < FEW_FAULTS
