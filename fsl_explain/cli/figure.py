"""``fsl-explain figure``."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter

from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.progress import note
from fsl_explain.config import FigureConfig, read_config
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.map_grid import map_grid
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.report import draw_grid, write_figure
from fsl_explain.report.grid_figure import check_ending


def figure(
    *,
    config: Path,
    out: Path,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
) -> None:
    """Draw the maps of the same images under several models, as FAM's Figs. 2, 3 and 5 do.

    The images are decided correctly by every model; with shown.decisions = "wrong" they are decided wrongly, and both
    the predicted and the true class are explained, as in FAM's Fig. 4.

    Parameters
    ----------
    config
        TOML file of the figure, for example configs/live/figure-cub10.toml.
    out
        The picture: a file that ends in .png, .pdf or .svg.
    set_
        Change one setting, for example --set shown.method=exact; may be repeated.
    """
    settings = read_config(config, FigureConfig, set_)
    find_method(settings.shown.method)
    check_ending(out)
    check_output_file(out)
    if settings.run.threads is not None:
        torch.set_num_threads(settings.run.threads)
    dataset = settings.data.open()
    gallery = None if settings.gallery is None else settings.gallery.open("gallery")
    encoders = [Encoder.from_config(model.encoder, device=settings.run.device) for model in settings.models]
    grid = map_grid(encoders, dataset, gallery, settings)
    write_figure(draw_grid(grid), out)
    note(f"Figure: {out}, {len(grid.truths)} images")
