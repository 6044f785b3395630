"""``fsl-explain figure``."""

from pathlib import Path

from fsl_explain.cli.from_settings import grid_of
from fsl_explain.cli.measuring import encoder_for_methods, say_beforehand, set_threads
from fsl_explain.cli.progress import note
from fsl_explain.config import FigureConfig
from fsl_explain.report import draw_grid, write_figure


def run(settings: FigureConfig, out: Path) -> None:
    """Draw the figure and write it."""
    set_threads(settings.run.threads)
    dataset = settings.data.open()
    gallery = None if settings.gallery is None else settings.gallery.open("gallery")
    methods, device = (settings.shown.method,), settings.run.device
    encoders = [encoder_for_methods(model.encoder, methods, device) for model in settings.models]
    for encoder in encoders:
        say_beforehand(encoder)
    grid = grid_of(settings, encoders, dataset, gallery)
    write_figure(draw_grid(grid), out)
    note(f"Figure: {out}, {len(grid.truths)} images")
