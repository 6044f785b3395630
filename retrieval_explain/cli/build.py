"""``retrieval-explain build``."""

from pathlib import Path

from rich.console import Console

from episodes import ImageFiles, ImageFolder, LabeledImages, find_images
from episodes.errors import Mistake
from fsl_explain.cli.progress import note, progress_bars
from fsl_explain.config import read_config
from fsl_explain.encoder import Encoder
from retrieval_explain.cli.opened import Neighborhood
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.settings import BankEvaluationConfig
from retrieval_explain.store.building import append_images


def build(
    images: Path,
    *,
    bank: Path,
    encoder: str = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: str | None = None,
    similarity: str = "cosine",
    dtype: str = "float32",
    batch_size: int = 8,
    index: str | None = None,
    k: Neighborhood | None = None,
    recall: float = 0.95,
    resume: bool = False,
    append: bool = False,
    unlabeled: bool = False,
) -> None:
    """Embed images into a memory bank on disk.

    The bank that was there stays until the new one is whole. A build that was stopped keeps its images.

    Parameters
    ----------
    images
        A folder with one folder of images per class, a folder of images, or a TOML file of retrieval-explain evaluate,
        whose [data] names a data set.
    bank
        The folder of the bank.
    encoder
        conv4net, conv64f, resnet12, can-resnet12, resnet18, wrn-28-10, bn-inception, efficientnet-lite0, npid-resnet18,
        npid-resnet50, moco-resnet50, moco-v2-resnet50, simclr-resnet50, swav-resnet50, supervised-resnet50 or
        torchvision:NAME.
    checkpoint
        Weights for the encoder: safetensors, a plain state dict, or the file of an official release.
    pooling
        gap, gmp, lse or gem; that of the encoder's paper unless given.
    similarity
        cosine, inner-product or euclidean.
    dtype
        float32, or float16 for half the size.
    batch_size
        Images per forward pass: 8 or 16 on a CPU, 64 or more on a GPU.
    index
        Also make an index: hnsw, ivf or ivf-pq. Without one the search is exact.
    k
        Neighbors at which the index must reach the recall; 200 by default.
    recall
        The share of the true neighbors that the index has to find.
    resume
        Go on with the images of a build of the same settings that was stopped.
    append
        Add the images to the bank that is there.
    unlabeled
        Take every image below the folder, however deep, without a label.
    """
    if append and resume:
        raise Mistake("expected --append or --resume, but got both; an append is done in one go.")
    dataset = _images(images.resolve(), unlabeled)
    network = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling)
    note(f"Embedding {len(dataset)} images of {len(dataset.classes) or 'no'} classes with {network.description} …")
    with progress_bars() as report:
        if append:
            append_images(network, dataset, bank, batch_size, report)
            made = MemoryBank.load(bank)
        else:
            made = MemoryBank.build(
                network,
                dataset,
                similarity=similarity,
                batch_size=batch_size,
                report=report,
                directory=bank,
                resume=resume,
                dtype=dtype,
            )
    console = Console(highlight=False)
    rows, channels = made.rows.shape
    console.print(f"Bank: {bank}, {rows} images of {len(made.classes)} classes, {channels} channels.", soft_wrap=True)
    if index is not None:
        verified = made.indexed(index, k=k, recall=recall).verified
        if verified is not None:
            console.print(f"Index {index}: {verified.sentence}.", soft_wrap=True)


def _images(source: Path, unlabeled: bool) -> LabeledImages:
    """Open a folder of class folders, a folder of images, or the data set that a configuration names."""
    if source.suffix == ".toml":
        return read_config(source, BankEvaluationConfig).data.open()
    return ImageFiles(source) if unlabeled or find_images(source) else ImageFolder(source)
