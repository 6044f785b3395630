"""``fsl-explain convert``."""

from pathlib import Path

from fsl_explain.backbones.conversion import convert as convert_checkpoint
from fsl_explain.cli.progress import note, show_table
from fsl_explain.evaluation import Table


def run(checkpoint: Path, encoder: str, out: Path, release: str | None, part: str | None) -> None:
    """Convert the checkpoint and print what became of every tensor."""
    report = convert_checkpoint(checkpoint, encoder, out, release, part=part)
    title = f"{checkpoint.name}, {report.release}, as {encoder}"
    show_table(Table(title, ("tensors", "count", "first"), report.summary()))
    note(f"Weights: {out}")
