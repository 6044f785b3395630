"""``retrieval-explain build``."""

from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input
from fsl_explain.cli.options import (
    EncoderName,
    EngineName,
    Neighborhood,
    PoolingName,
    ReadoutName,
    ScalesText,
    SimilarityName,
    Workers,
)
from fsl_explain.engine import LOCAL, EngineOptions
from retrieval_explain.cli.options import BankPlace, DtypeName, IndexName


def build(
    images: Path,
    *,
    bank: BankPlace,
    encoder: EncoderName = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: PoolingName = None,
    readout: ReadoutName = None,
    scales: ScalesText = None,
    similarity: SimilarityName = "cosine",
    dtype: DtypeName = "float32",
    batch_size: int = 8,
    index: IndexName = None,
    k: Neighborhood | None = None,
    recall: float | None = None,
    resume: bool = False,
    append: bool = False,
    unlabeled: bool = False,
    skip_broken: bool = False,
    engine: EngineName = LOCAL,
    workers: Workers = None,
) -> None:
    """Embed images into a memory bank in a folder or on a Milvus server.

    The bank that was there stays until the new one is whole. A build that was stopped keeps its images.

    Parameters
    ----------
    images
        A folder with one folder of images per class, a folder of images, or a TOML file of retrieval-explain evaluate,
        whose [data] names a data set.
    bank
        The folder of the bank, or milvus://host:port/collection.
    checkpoint
        Weights for the encoder: safetensors, the file of a training, or that of an official release.
    dtype
        float32, or float16 for half the size.
    batch_size
        Images per forward pass: 8 or 16 on a CPU, 64 or more on a GPU.
    index
        Also make an index: hnsw, ivf or ivf-pq. Without one the search is exact.
    k
        Neighbors at which the index must reach the recall; 200 by default.
    recall
        The share of the true neighbors that the index has to find; 0.95 by default.
    resume
        Go on with the images of a build of the same settings that was stopped; photographs that were replaced since are
        refused.
    append
        Add the images that the bank has not; files that have changed are embedded again.
    unlabeled
        Take every image below the folder, however deep, without a label.
    skip_broken
        Read every image first, list the broken ones on stderr and go on without them; otherwise one is a mistake.

    Examples
    --------
    retrieval-explain build images/ --bank birds.bank
    retrieval-explain build images/ --bank birds.bank --append --index hnsw --skip-broken
    """
    if append and resume:
        raise Mistake("expected --append or --resume, but got both; an append is done in one go.")
    if index is None and (k is not None or recall is not None):
        raise Mistake(f"{'--recall' if k is None else '-k'} is of an index, but none is made; give --index or drop it.")
    if recall is not None and not 0 <= recall <= 1:
        raise Mistake(f"expected a --recall from 0 to 1, but got {recall}; 0.95 is usual.")
    chosen = EngineOptions(engine, workers)
    check_input(images, "a folder of images or a TOML file")
    if checkpoint is not None:
        check_input(checkpoint, "a checkpoint")

    from retrieval_explain.cli.build import run

    run(
        images=images,
        bank=bank,
        encoder=encoder,
        checkpoint=checkpoint,
        pooling=pooling,
        readout=readout,
        scales=scales,
        similarity=similarity,
        dtype=dtype,
        batch_size=batch_size,
        index=index,
        k=k,
        recall=recall,
        resume=resume,
        append=append,
        unlabeled=unlabeled,
        skip_broken=skip_broken,
        engine=chosen,
    )
