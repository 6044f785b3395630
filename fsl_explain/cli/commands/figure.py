"""``fsl-explain figure``."""

from pathlib import Path

from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.options import Changes
from fsl_explain.config import FigureConfig, read_config
from fsl_explain.report.picture_endings import check_ending


def figure(
    *,
    config: Path,
    out: Path,
    set_: Changes = (),
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

    Examples
    --------
    fsl-explain figure --config figure.toml --out figure.png
    fsl-explain figure --config figure.toml --set shown.method=exact --out figure.pdf
    """
    settings = read_config(config, FigureConfig, set_)
    check_ending(out)
    check_output_file(out)
    settings.data.check_there()
    if settings.gallery is not None:
        settings.gallery.check_there("gallery")
    for model in settings.models:
        model.encoder.check_there()

    from fsl_explain.cli.figure import run

    run(settings, out)
