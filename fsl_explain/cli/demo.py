"""``fsl-explain demo``."""

from importlib.resources import as_file, files
from pathlib import Path

from fsl_explain.cli.evaluate import run_evaluation
from fsl_explain.cli.from_settings import accuracy_of
from fsl_explain.cli.measuring import Opened
from fsl_explain.cli.progress import note, say
from fsl_explain.config import EvaluationConfig, read_config
from fsl_explain.encoder import Encoder
from fsl_explain.metrics import mean_interval


def run(out: Path) -> None:
    """Evaluate the embedded encoder, trained and untrained, and write the page."""
    with as_file(files("fsl_explain") / "demo") as folder:
        settings = read_config(folder / "demo.toml", EvaluationConfig)
        dataset = settings.data.open()
        encoder = Encoder.from_config(settings.encoder)
        untrained = Encoder.from_config(settings.encoder.model_copy(update={"checkpoint": None}))
        note("Drawing scenes, then measuring the untrained encoder …")
        mean, half_width, _ = mean_interval(accuracy_of(settings, untrained, dataset))
        summary = run_evaluation(
            settings, Opened.of(settings, dataset, encoder), out, title="demo: digits never trained on"
        )
    trained = summary["accuracy"]
    say(
        f"Accuracy: untrained encoder {100 * mean:.2f} ± {100 * half_width:.2f} %, "
        f"trained encoder {100 * trained['mean']:.2f} ± {100 * trained['half_width']:.2f} %."
    )
    say(f"Page: {out / 'index.html'}")
