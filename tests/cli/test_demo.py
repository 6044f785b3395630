"""The weights that ship with the project do what the demo says."""

import json
from importlib.resources import files

from episodes import Split
from fsl_explain import Encoder
from fsl_explain.cli.app import run
from fsl_explain.cli.from_settings import accuracy_of
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.metrics import mean_interval

FOLDER = files("fsl_explain") / "demo"


def test_the_trained_encoder_is_better_than_an_untrained_one_on_new_digits():
    settings = read_config(FOLDER / "demo.toml", EvaluationConfig)
    assert settings.episodes.count >= 200
    dataset = settings.data.open()
    assert set(dataset.classes) == set(Split.load("digit-scenes").novel)
    trained, untrained = (
        mean_interval(accuracy_of(settings, Encoder.from_config(config), dataset))
        for config in (settings.encoder, settings.encoder.model_copy(update={"checkpoint": None}))
    )
    assert trained.mean - trained.half_width > untrained.mean + untrained.half_width


def test_the_transformer_decides_the_same_digits():
    first, second = (read_config(FOLDER / name, EvaluationConfig) for name in ("demo.toml", "demo-vit.toml"))
    assert second.data == first.data
    encoder = Encoder.from_config(second.encoder)
    assert "demo-vit-digit-scenes.safetensors" in encoder.description
    found = mean_interval(accuracy_of(second, encoder, second.data.open()))
    assert found.mean - found.half_width > 1 / second.episodes.n_way


def test_the_weights_are_small():
    assert (FOLDER / "conv4net-digit-scenes.safetensors").stat().st_size < 500_000


def test_a_short_demo_is_measured_on_fewer_episodes(tmp_path, capsys):
    assert run(["demo", "--limit", "1", "--out", str(tmp_path / "demo")]) == 0
    for folder in (tmp_path / "demo", tmp_path / "demo" / "transformer"):
        assert json.loads((folder / "summary.json").read_text())["episodes"] == 1
    assert "Pages:" in capsys.readouterr().out
