"""``fsl-explain mosaics``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import Changes, Overwrite, Resume, SkipBroken
from fsl_explain.config import MosaicsConfig, read_config


def mosaics(
    *,
    config: Path,
    out: Path | None = None,
    limit: int | None = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_broken: SkipBroken = False,
    set_: Changes = (),
) -> None:
    """Test explanations where the right answer is known: the tile of the reference's class in a 2×2 mosaic.

    Prints, per method and head, how often a map's maximum lies in the right tile, how much of its mass does, and
    how alike the maps of two different references are; beside it what the model itself reaches, shown each tile
    alone. With --out the folder gets summary.json and index.html with example mosaics.

    Parameters
    ----------
    config
        TOML file of the benchmark, for example configs/live/mosaics-cub10.toml.
    out
        Folder for the results; without it only the tables are printed.
    limit
        Use only the first N mosaics.
    set_
        Change one setting, for example --set mosaics.seed=1; may be repeated.

    Examples
    --------
    fsl-explain mosaics --config mosaics.toml --out results/mosaics
    fsl-explain mosaics --config mosaics.toml --limit 50 --set mosaics.seed=1
    """
    settings = read_config(config, MosaicsConfig, set_)
    if limit is not None:
        settings = _limited(settings, limit)
    check_results_folder(out, resume=resume, overwrite=overwrite)
    settings.data.check_there()
    settings.encoder.check_there()

    from fsl_explain.cli.mosaics import run

    run(settings, out, resume, skip_broken, title=config.stem)


def _limited(settings: MosaicsConfig, limit: int) -> MosaicsConfig:
    if limit < 1:
        raise Mistake(f"expected a --limit of at least 1 mosaic, but got {limit}.")
    count = min(limit, settings.mosaics.count)
    return settings.model_copy(update={"mosaics": settings.mosaics.model_copy(update={"count": count})})
