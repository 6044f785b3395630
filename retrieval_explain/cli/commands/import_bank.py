"""``retrieval-explain import``."""

from pathlib import Path

from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import SimilarityName
from retrieval_explain.cli.options import BankPlace, DtypeName, LayoutName


def import_bank(
    file: Path,
    *,
    bank: BankPlace,
    images: Path | None = None,
    layout: LayoutName = "auto",
    key: str | None = None,
    similarity: SimilarityName = "cosine",
    dtype: DtypeName = "float32",
    made_by: str = "",
) -> None:
    """Make a bank of embeddings that exist already.

    Parameters
    ----------
    file
        A .npy array, a Parquet table with a column embedding, a .safetensors file, or a checkpoint of NPID or MoCo.
    bank
        The folder of the bank.
    images
        Which images they are: a text file with one image a line (path, and label where it is not the parent folder),
        or the folder of class folders whose order they have.
    layout
        rows (N×D), columns (D×N, as MoCo's queue) or auto.
    key
        The tensor of the file; by default module.queue, queue, module.memory, memory or lemniscate.memory.
    dtype
        float32, or float16 for half the size.
    made_by
        What made the embeddings, in words.

    Examples
    --------
    retrieval-explain import embeddings.npy --bank birds.bank --images images.txt
    retrieval-explain import lemniscate_resnet18.pth.tar --bank npid.bank --images train/
    """
    check_input(file, "a file of embeddings")

    from retrieval_explain.cli.import_bank import run

    run(file, bank, images, layout, key, similarity, dtype, made_by)
