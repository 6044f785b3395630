"""The configs of the papers' tables: each says what is missing, and its smoke twin runs on official layouts."""

import json
import shutil
import tomllib
from pathlib import Path

import official_sets
import pytest

from fsl_explain.cli.app import run as run_fsl
from fsl_explain.config import ComparisonConfig, EvaluationConfig, FigureConfig, TrainingConfig, read_config
from retrieval_explain.cli.app import run as run_retrieval
from retrieval_explain.settings import BankEvaluationConfig

CONFIGS = Path(__file__).parents[2] / "configs"
FIGURES = sorted(path.stem for path in (CONFIGS / "papers").glob("fam-figure-*.toml"))
PAPERS = sorted(path.stem for path in (CONFIGS / "papers").glob("*.toml") if path.stem not in FIGURES)
FEW_SHOT = ("conv4net", "conv64f", "resnet12", "resnet18", "wrn-28-10")
BANKS = ("npid-resnet18", "npid-resnet50", "moco-resnet50")
COMMANDS = {
    "fam-train": ("train", TrainingConfig),
    "fam-table-1": ("evaluate", EvaluationConfig),
    "fam-table-3": ("retrieval evaluate", BankEvaluationConfig),
    "fam-table-4": ("retrieval evaluate", BankEvaluationConfig),
    "lafam-table": ("compare", ComparisonConfig),
    "fam-figure": ("figure", FigureConfig),
}


def command_of(name):
    return next(found for prefix, found in COMMANDS.items() if name.startswith(prefix))


def run(name, folder, *options):
    """Run the command of a config in one of the folders ``papers`` and ``smoke``."""
    command, _ = command_of(name)
    arguments = [command.split()[-1], "--config", str(folder / f"{name}.toml"), *options]
    return (run_retrieval if command.startswith("retrieval") else run_fsl)(arguments)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with the configs, and the data and weights that smoke configs name, written when first needed."""
    root = tmp_path_factory.mktemp("papers")
    shutil.copytree(CONFIGS, root / "configs")
    return root


def prepare(world, name):
    """Write what a smoke config reads: its data set, and its weights or those it is trained to."""
    _, model = command_of(name)
    settings = read_config(world / "configs/smoke" / f"{name}.toml", model)
    if not settings.data.root.exists():
        official_sets.WRITERS[settings.data.kind](settings.data.root)
    path = settings.encoder.checkpoint
    if path is None or path.exists():
        return
    trained = path.stem.removeprefix("smoke-").replace("fam-cub", "fam-train-cub")
    if path.suffix == ".safetensors":
        prepare(world, trained)
        assert run(trained, world / "configs/smoke") == 0
    else:
        official_sets.write_weights(settings.encoder.name, path)


@pytest.mark.parametrize("name", [*PAPERS, *FIGURES])
def test_says_what_data_are_missing_and_where_to_get_them(name, tmp_path, capsys):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    out = ("--out", str(tmp_path / "figure.png")) if name in FIGURES else ()
    assert run(name, tmp_path / "configs/papers", *out) == 2
    message = capsys.readouterr().err
    assert "does not exist; get " in message
    assert ", from " in message or "LUSSeg/ImageNet-S" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", PAPERS)
def test_its_smoke_twin_runs(world, name, capsys):
    prepare(world, name)
    out = () if name.startswith("fam-train") else ("--out", str(world / "results" / name))
    assert run(name, world / "configs/smoke", *out) == 0, capsys.readouterr().err
    if out:
        summary = json.loads((world / "results" / name / "summary.json").read_text(encoding="utf-8"))
        _, model = command_of(name)
        settings = read_config(world / "configs/smoke" / f"{name}.toml", model)
        asked = settings.maps.methods if name.startswith("lafam") else settings.explanation.methods
        judged = next(iter(summary["rules"].values())) if "rules" in summary else summary
        assert set(asked) <= set(judged["methods"])


FIGURE_PARTS = {
    "fam-figure-2-cub": [f"fam-table-1-2-cub-{name}" for name in FEW_SHOT],
    "fam-figure-3-imagenet": [f"fam-table-3-imagenet-{name}" for name in BANKS],
    "fam-figure-5-cub": [f"fam-table-4-cub-{loss}" for loss in ("margin", "multi-similarity")],
}


@pytest.mark.parametrize(("name", "decisions"), [*((name, "correct") for name in FIGURES), (FIGURES[0], "wrong")])
def test_the_figures_of_the_papers_run(world, name, decisions, capsys):
    for table in FIGURE_PARTS[name]:
        prepare(world, table)
    written = (CONFIGS / "papers" / f"{name}.toml").read_text(encoding="utf-8")
    for split in ("cub-closer-look", "cub-retrieval"):
        written = written.replace(f'"{split}"', '"../../data/smoke-split.csv"')
    written = written.replace("results/fam-cub", "results/smoke-fam-cub").replace("k = 200", "k = 3")
    (world / "configs/papers" / f"{name}.toml").write_text(written, encoding="utf-8")
    out = world / f"{name}-{decisions}.png"
    small = ("--set", "episodes.n_query=2", "--set", f"shown.decisions={decisions}")
    assert run(name, world / "configs/papers", "--out", str(out), *small) == 0, capsys.readouterr().err
    assert out.stat().st_size > 1000


def test_weights_that_are_missing_are_named_with_where_they_come_from(world, capsys):
    prepare(world, "fam-train-cub-conv4net")
    missing = ("--set", "encoder.checkpoint=nowhere.safetensors")
    assert run("fam-table-1-2-cub-conv4net", world / "configs/smoke", *missing) == 2
    expected = "nowhere.safetensors does not exist; it comes from fsl-explain train --config configs/papers/fam-train-"
    assert expected in " ".join(capsys.readouterr().err.split())


def test_every_table_of_the_papers_has_its_configs():
    expected = {f"fam-table-1-2-cub-{name}" for name in FEW_SHOT} | {f"fam-train-cub-{name}" for name in FEW_SHOT}
    expected |= {f"fam-table-3-imagenet-{name}" for name in BANKS}
    expected |= {f"fam-{kind}-cub-{loss}" for kind in ("table-4", "train") for loss in ("margin", "multi-similarity")}
    models = ("supervised-resnet50", "simclr-resnet50", "swav-resnet50")
    expected |= {f"lafam-table-{table}-{model}" for table in ("1-imagenet-s", "2-voc2012") for model in models}
    assert set(PAPERS) == expected
    for name in expected:
        assert tomllib.loads((CONFIGS / f"smoke/{name}.toml").read_text())["extends"] == f"../papers/{name}.toml"


def test_a_figure_of_another_kind_is_refused_before_anything_is_computed(tmp_path, capsys):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    assert run("fam-figure-5-cub", tmp_path / "configs/papers", "--out", str(tmp_path / "figure.jpg")) == 2
    assert "expected a figure that ends in .png, .pdf, .svg" in " ".join(capsys.readouterr().err.split())


def test_a_training_names_the_weights_that_it_lacks(world, capsys):
    prepare(world, "fam-train-cub-conv4net")
    assert run("fam-train-cub-margin", world / "configs/smoke", "--set", "encoder.checkpoint=nowhere.pth") == 2
    expected = "nowhere.pth does not exist; it comes from the ImageNet weights of BN-Inception"
    assert expected in " ".join(capsys.readouterr().err.split())
