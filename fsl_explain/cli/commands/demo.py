"""``fsl-explain demo``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import Overwrite


def demo(*, out: Path = Path("fsl-explain-demo"), limit: int | None = None, overwrite: Overwrite = False) -> None:
    """Run the main job on the embedded data: 5-way 1-shot episodes of digits the encoder was never trained on.

    Compares the trained encoder with an untrained one, measures the explanations, and writes a page; then one of
    a small Vision Transformer. Needs no download.

    Parameters
    ----------
    out
        Folder for summary.json, queries.parquet, episodes.parquet and index.html; those of the transformer are in
        its folder ``transformer``.
    limit
        Evaluate only the first N episodes: a first look in seconds, with wider intervals.

    Examples
    --------
    fsl-explain demo
    fsl-explain demo --limit 5 --out first-look
    """
    if limit is not None and limit < 1:
        raise Mistake(f"expected a --limit of at least 1 episode, but got {limit}.")
    check_results_folder(out, overwrite=overwrite)

    from fsl_explain.cli.demo import run

    run(out, limit)
