"""``fsl-explain figure``."""

from pathlib import Path

import torch

from fsl_explain.cli.progress import note
from fsl_explain.config import FigureConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.map_grid import map_grid
from fsl_explain.report import draw_grid, write_figure


def run(settings: FigureConfig, out: Path) -> None:
    """Draw the figure and write it."""
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    dataset = settings.data.open()
    gallery = None if settings.gallery is None else settings.gallery.open("gallery")
    encoders = [Encoder.from_config(model.encoder, device=settings.run.device) for model in settings.models]
    grid = map_grid(encoders, dataset, gallery, settings)
    write_figure(draw_grid(grid), out)
    note(f"Figure: {out}, {len(grid.truths)} images")
