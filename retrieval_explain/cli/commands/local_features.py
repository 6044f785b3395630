"""``retrieval-explain local-features``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import EncoderName, PoolingName, ReadoutName
from retrieval_explain.cli.options import BankPlace, DtypeName, check_bank


def local_features(
    *,
    bank: BankPlace,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    dtype: DtypeName = "float32",
    batch_size: int = 8,
) -> None:
    """Keep the cells of a bank's images beside it, by which search --rerank compares.

    They are rows × cells × channels numbers, far more than the bank. Run it again when it was stopped, or after the
    bank has changed: rows that are done and have not changed stay.

    Parameters
    ----------
    bank
        The folder of the bank, whose images are read again by their paths.
    checkpoint
        Its weights.
    dtype
        float32, or float16 for half the size.
    batch_size
        Images per forward pass: 8 or 16 on a CPU, 64 or more on a GPU.

    Examples
    --------
    retrieval-explain local-features --bank birds.bank
    retrieval-explain local-features --bank birds.bank --dtype float16 --batch-size 64
    """
    check_bank(bank)
    if not isinstance(bank, Path):
        raise Mistake(
            f"local features lie in the folder of a bank, but {bank} is on a server; keep a copy in a folder with "
            "MemoryBank.open(…).save(FOLDER)."
        )
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")

    from retrieval_explain.cli.local_features import run

    run(bank, encoder, checkpoint, pooling, readout, dtype, batch_size)
