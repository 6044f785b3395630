"""``fsl-explain evaluate``."""

from pathlib import Path

from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import Changes, Overwrite, Resume, SaveMaps, SkipBroken
from fsl_explain.config import EvaluationConfig, read_config


def evaluate(
    *,
    config: Path,
    out: Path | None = None,
    limit: int | None = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    skip_broken: SkipBroken = False,
    save_maps: SaveMaps = False,
    set_: Changes = (),
) -> None:
    """Measure explanations over few-shot episodes: accuracy, AD, IC, Proportion, IoU and pointing per method.

    Every table carries the baselines grad-cam, lafam, centered-gaussian, random-blurred and all-ones. With --out the
    folder gets summary.json, queries.parquet, episodes.parquet and index.html; they appear together when all is done.
    pandas.read_parquet("results/birds/queries.parquet") is a table with one row per query and method.

    Parameters
    ----------
    config
        TOML file of the evaluation, for example configs/live/cub10-efficientnet.toml.
    out
        Folder for the results; without it only the table is printed.
    limit
        Evaluate only the first N episodes.
    set_
        Change one setting, for example --set episodes.n_shot=5; may be repeated.

    Examples
    --------
    fsl-explain evaluate --config birds.toml --out results/birds
    fsl-explain evaluate --config birds.toml --set episodes.n_shot=5 --limit 20
    """
    settings = read_config(config, EvaluationConfig, set_).limited(limit)
    check_results_folder(out, resume=resume, overwrite=overwrite, save_maps=save_maps)
    settings.data.check_there()
    settings.encoder.check_there()
    if settings.center is not None:
        settings.center.check_there()

    from fsl_explain.cli.evaluate import run

    run(settings, out, resume, skip_broken, save_maps, title=config.stem)
