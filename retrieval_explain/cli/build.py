"""``retrieval-explain build``."""

from pathlib import Path

from rich.console import Console

from episodes import ImageFiles, ImageFolder, LabeledImages, find_images
from fsl_explain.cli.progress import note, progress_bars
from fsl_explain.config import read_config
from fsl_explain.encoder import Encoder
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.settings import BankEvaluationConfig
from retrieval_explain.store.building import append_images


def run(
    images: Path,
    bank: Path,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    similarity: str,
    dtype: str,
    batch_size: int,
    index: str | None,
    k: int | None,
    recall: float,
    resume: bool,
    append: bool,
    unlabeled: bool,
) -> None:
    """Embed the images, write the bank and the index."""
    dataset = _images(images.resolve(), unlabeled)
    network = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling)
    note(f"Embedding {len(dataset)} images of {len(dataset.classes) or 'no'} classes with {network.description} …")
    with progress_bars() as report:
        if append:
            grown = append_images(network, dataset, bank, batch_size, report)
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
    if append:
        note(grown.sentence)
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
