"""``retrieval-explain build``."""

from pathlib import Path

from episodes import ImageFiles, ImageFolder, LabeledImages, find_images
from fsl_explain.cli.broken import without_broken
from fsl_explain.cli.manners import check_trained
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.progress import note, progress_bars, say
from fsl_explain.config import read_config
from fsl_explain.engine import EngineOptions
from retrieval_explain.bank_address import Address
from retrieval_explain.memory_bank import MemoryBank
from retrieval_explain.places import store_at
from retrieval_explain.search.index_limits import check_enough
from retrieval_explain.settings import BankEvaluationConfig
from retrieval_explain.store.building import append_images

RECALL = 0.95
USUAL = EngineOptions()


def run(
    images: Path,
    bank: Path | Address,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    similarity: str,
    dtype: str,
    batch_size: int,
    index: str | None,
    k: int | None,
    recall: float | None,
    resume: bool,
    append: bool,
    unlabeled: bool,
    skip_broken: bool = False,
    engine: EngineOptions = USUAL,
) -> None:
    """Embed the images, write the bank and the index."""
    dataset = _images(images.resolve(), unlabeled)
    if skip_broken:
        dataset = without_broken(dataset)
    if index is not None and not append:
        check_enough(index, len(dataset))
    network = named_encoder(encoder, checkpoint, pooling, readout, scales)
    check_trained(encoder, network.random)
    say_beforehand(network)
    images_told = "1 image" if len(dataset) == 1 else f"{len(dataset)} images"
    classes_told = "1 class" if len(dataset.classes) == 1 else f"{len(dataset.classes) or 'no'} classes"
    note(f"Embedding {images_told} of {classes_told} with {network.description} …")
    with progress_bars() as report:
        if append:
            grown = append_images(network, dataset, store_at(bank), batch_size, report, engine)
            made = MemoryBank.open(bank)
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
                engine=engine,
            )
    if append:
        note(grown.sentence)
    rows, channels = made.rows.shape
    say(f"Bank: {bank}, {rows} images of {len(made.classes)} classes, {channels} channels.")
    if index is not None:
        verified = made.indexed(index, k=k, recall=RECALL if recall is None else recall).verified
        if verified is not None:
            say(f"Index {index}: {verified.sentence}.")


def _images(source: Path, unlabeled: bool) -> LabeledImages:
    """Open a folder of class folders, a folder of images, or the data set that a configuration names."""
    if source.suffix == ".toml":
        return read_config(source, BankEvaluationConfig).data.open()
    return ImageFiles(source) if unlabeled or find_images(source) else ImageFolder(source)
