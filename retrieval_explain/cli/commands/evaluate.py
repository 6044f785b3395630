"""``retrieval-explain evaluate``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import Changes, Overwrite, Resume, SaveMaps, SkipBroken
from fsl_explain.config import read_config
from fsl_explain.config.data import DataOptions
from retrieval_explain.settings import BankEvaluationConfig


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
    """Measure retrieval, and how far explanations of its decisions can be trusted.

    Prints Recall@1, 2, 4, 8, R-precision, mAP@R and the accuracy of k-NN votes with ties counted three ways, beside
    chance; then AD, IC, Proportion, IoU and pointing per method over the correct decisions of each rule, beside the
    baselines grad-cam, lafam, centered-gaussian, random-blurred and all-ones. With --out the folder gets summary.json,
    queries.parquet and index.html; they appear together when all is done.
    pandas.read_parquet("results/bank/queries.parquet") is a table with one row per query, rule and method.

    Parameters
    ----------
    config
        TOML file of the evaluation, for example configs/live/bank-cub10.toml.
    out
        Folder for the results; without it only the tables are printed.
    limit
        Take only N queries, evenly spread over the data set; the gallery stays whole.
    set_
        Change one setting, for example --set decision.k=20; may be repeated.

    Examples
    --------
    retrieval-explain evaluate --config bank.toml --out results/bank
    retrieval-explain evaluate --config bank.toml --limit 50 --set decision.k=20
    """
    settings = read_config(config, BankEvaluationConfig, set_)
    if limit is not None and limit < 1:
        raise Mistake(f"expected a --limit of at least 1 query, but got {limit}.")
    check_results_folder(out, resume=resume, overwrite=overwrite, save_maps=save_maps)
    settings.data.check_there()
    if isinstance(settings.gallery, DataOptions):
        settings.gallery.check_there("gallery")
    settings.encoder.check_there()
    if settings.center is not None:
        settings.center.check_there()

    from retrieval_explain.cli.evaluate import run

    run(settings, out, resume, skip_broken, save_maps, limit, title=config.stem)
