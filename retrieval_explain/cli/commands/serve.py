"""``retrieval-explain serve``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from episodes.errors import Mistake
from fsl_explain.cli.address import HERE, Address
from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import EncoderName, PoolingName, ReadoutName, ScalesText
from retrieval_explain.bank_address import is_address
from retrieval_explain.cli.options import IndexName

Banks = Annotated[tuple[Path, ...], Parameter(name="--bank", negative="")]
Encoders = Annotated[tuple[EncoderName, ...], Parameter(name="--encoder", negative="")]
Checkpoints = Annotated[tuple[Path, ...], Parameter(name="--checkpoint", negative="")]


def serve(
    *,
    bank: Banks,
    encoder: Encoders = ("efficientnet-lite0",),
    checkpoint: Checkpoints = (),
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    index: IndexName = None,
    address: Address = HERE,
) -> None:
    """Serve a page in the browser that shows why images came back, why others did not, and whose labels are in doubt.

    Prints the address and answers until Ctrl-C. Only this machine is answered, unless --host says otherwise; then a
    token is needed.

    Parameters
    ----------
    bank
        The folder of a bank; twice for two banks side by side.
    encoder
        What made the bank: one for all banks, or one for each in their order.
    checkpoint
        Its weights; one for all banks, or one for each.
    index
        Search through flat, hnsw, ivf or ivf-pq, whose measured recall is said; without one the search is exact.

    Examples
    --------
    retrieval-explain serve --bank birds.bank --open
    retrieval-explain serve --bank birds.bank --bank pets.bank --port 9000
    """
    for one in bank:
        if is_address(str(one)):
            raise Mistake(
                f"expected the folder of a bank to serve, whose labels can be corrected in versions, but {one} is on a "
                "server; keep a copy in a folder with MemoryBank.open(…).save(FOLDER)."
            )
        check_input(one, "the folder of a bank")
    for one in checkpoint:
        check_input(one, "a checkpoint")
    _check_each(len(bank), "--encoder", encoder)
    _check_each(len(bank), "--checkpoint", checkpoint)

    from retrieval_explain.cli.serve import run

    run(
        banks=bank,
        encoders=encoder,
        checkpoints=checkpoint,
        pooling=pooling,
        readout=readout,
        scales=scales,
        index=index,
        address=address,
    )


def _check_each(banks: int, option: str, given: tuple[object, ...]) -> None:
    if len(given) not in (0, 1, banks):
        raise Mistake(f"expected {option} once, or once for each of {banks} banks, but got {len(given)}.")
