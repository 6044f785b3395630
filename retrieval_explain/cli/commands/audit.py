"""``retrieval-explain audit``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_results_folder
from fsl_explain.cli.options import EngineName, Overwrite, Workers
from fsl_explain.engine import LOCAL, EngineOptions
from retrieval_explain.cli.options import BankPlace, check_bank


def audit(
    *,
    bank: BankPlace,
    k: int | None = None,
    flip: float | None = None,
    seed: int = 0,
    top: int = 20,
    out: Path | None = None,
    overwrite: Overwrite = False,
    engine: EngineName = LOCAL,
    workers: Workers = None,
) -> None:
    """List the images of a bank that are likeliest mislabeled.

    Every label is valued by what it adds to the bank's own nearest-neighbor classification, each image left out in
    turn. With --out the folder gets audit.parquet with all images, summary.json and index.html with pictures; they
    appear together.

    Parameters
    ----------
    bank
        The bank, whose images have labels: a folder, or milvus://host:port/collection.
    k
        Neighbors that are asked; without it 10, or fewer where classes are smaller.
    flip
        Flip this share of the labels at random, in memory only, and report how well they are found.
    seed
        Seed of the flips, and of the random orders they are compared with.
    top
        Images to list.
    out
        Folder for the results; without it only the tables are printed.

    Examples
    --------
    retrieval-explain audit --bank birds.bank --out results/audit
    retrieval-explain audit --bank birds.bank --flip 0.05 --top 50
    """
    if top < 1:
        raise Mistake(f"expected --top of at least 1 image, but got {top}.")
    chosen = EngineOptions(engine, workers)
    check_results_folder(out, overwrite=overwrite)
    check_bank(bank)

    from retrieval_explain.cli.audit import run

    run(bank, k, flip, seed, top, out, chosen)
