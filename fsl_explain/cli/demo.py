"""``fsl-explain demo``."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from fsl_explain.cli.evaluate import run_evaluation
from fsl_explain.cli.from_settings import accuracy_of
from fsl_explain.cli.measuring import Opened, encoder_for_methods
from fsl_explain.cli.progress import note, say
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.encoder import Encoder
from fsl_explain.metrics import mean_interval

TRANSFORMER = "transformer"
"""The folder of the second encoder's page."""


def run(out: Path, limit: int | None) -> None:
    """Evaluate the embedded encoders, the first trained and untrained, and write a page of each."""
    with as_file(files("fsl_explain") / "demo") as folder:
        settings = read_config(folder / "demo.toml", EvaluationConfig).limited(limit)
        dataset = settings.data.open()
        encoder = _encoder(settings)
        untrained = Encoder.from_config(settings.encoder.model_copy(update={"checkpoint": None}))
        note("Drawing scenes, then measuring the untrained encoder …")
        mean, half_width, _ = mean_interval(accuracy_of(settings, untrained, dataset))
        summary = run_evaluation(
            settings, Opened.of(settings, dataset, encoder), out, title="demo: digits never trained on"
        )
        of_tokens = read_config(folder / "demo-vit.toml", EvaluationConfig).limited(limit)
        note("Measuring a small Vision Transformer, read out by its class token …")
        second = run_evaluation(
            of_tokens,
            Opened.of(of_tokens, dataset, _encoder(of_tokens)),
            out / TRANSFORMER,
            title="demo: a class token",
        )
    say(
        f"Accuracy: untrained encoder {100 * mean:.2f} ± {100 * half_width:.2f} %, "
        f"trained encoder {_percent(summary['accuracy'])}, Vision Transformer {_percent(second['accuracy'])}."
    )
    say(f"Pages: {out / 'index.html'}, {out / TRANSFORMER / 'index.html'}")


def _encoder(settings: EvaluationConfig) -> Encoder:
    return encoder_for_methods(settings.encoder, settings.explanation.methods)


def _percent(found: Mapping[str, Any]) -> str:
    return f"{100 * found['mean']:.2f} ± {100 * found['half_width']:.2f} %"
