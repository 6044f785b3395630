"""``fsl-explain compare``."""

from pathlib import Path

from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import Center, Changes, Overwrite, Resume, SaveMaps, SkipBroken
from fsl_explain.config import ComparisonConfig, read_config
from fsl_explain.config.center import named_center


def compare(
    *,
    config: Path,
    out: Path | None = None,
    center: Center = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_broken: SkipBroken = False,
    save_maps: SaveMaps = False,
    set_: Changes = (),
) -> None:
    """Compare explainers on annotated images, as LaFAM's tables do, and show first what tells their maps apart.

    First of all stands what the network does when random sets of regions are removed: it asks no annotation, and
    maps.removal_draws forward passes for each image of the sample. On photographs of one object most maps look alike,
    and a centered Gaussian does too: so mosaics of several classes, another reference and the margin come before the
    annotation, and on the page a few images with their maps side by side. Every table
    holds the trivial maps; an entry is bold only where a paired bootstrap finds it better than all others. With --out
    the folder gets summary.json, queries.parquet and index.html.

    Parameters
    ----------
    config
        TOML file of the comparison, for example configs/live/compare-cub10.toml.
    out
        Folder for the results; without it only the tables are printed.
    set_
        Change one setting, for example --set maps.relax_masks=256; may be repeated.

    Examples
    --------
    fsl-explain compare --config compare.toml --out results/compare
    fsl-explain compare --config compare.toml --center supports --set maps.removal_draws=0
    """
    settings = read_config(config, ComparisonConfig, set_)
    if center is not None:
        settings = settings.model_copy(update={"center": named_center(center)})
    check_results_folder(out, resume=resume, overwrite=overwrite, save_maps=save_maps)
    settings.data.check_there()
    settings.encoder.check_there()
    if settings.center is not None:
        settings.center.check_there()

    from fsl_explain.cli.compare import run

    run(settings, out, resume, skip_broken, save_maps, title=config.stem)
