"""The road of every command that measures: read settings, open, check, measure, print, write.

A command says what it measures, and what its page shows; all else stands here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from episodes import LabeledImages
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.cli.seen import check_evaluated
from fsl_explain.config import EncoderConfig
from fsl_explain.config.data import DataConfig
from fsl_explain.config.settings import RunConfig
from fsl_explain.config.strict import without_places
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.results.written import Columns, partial_folder, provenance, remove_partial, write_tables
from fsl_explain.evaluation.seen_classes import SeenClasses
from fsl_explain.evaluation.table import Table
from fsl_explain.progress import Report
from fsl_explain.report import Page, render_page


@runtime_checkable
class Measured(Protocol):
    """Settings of a run over a data set with an encoder."""

    @property
    def data(self) -> DataConfig:
        """Which images."""
        ...

    @property
    def encoder(self) -> EncoderConfig:
        """From images to embeddings."""
        ...

    @property
    def run(self) -> RunConfig:
        """How the machine is used."""
        ...

    def model_dump(self, *, mode: str, exclude: set[str]) -> dict[str, Any]:
        """Return the settings as plain values."""
        ...


@dataclass(frozen=True)
class Opened:
    """What a command measures with, and what stands beside every figure of it."""

    dataset: LabeledImages
    encoder: Encoder
    seen: SeenClasses
    recorded: dict[str, Any]

    @classmethod
    def of(cls, settings: Measured, dataset: LabeledImages, encoder: Encoder) -> "Opened":
        """Check the classes, and record what the figures depend on.

        Raises: ``ValueError`` for classes that the encoder was trained on, unless its settings allow them.
        """
        seen = check_evaluated(settings.encoder, settings.data, dataset)
        return cls(dataset, encoder, seen, recorded(settings, encoder, dataset) | seen.recorded)

    @contextmanager
    def measuring(self, out: Path | None, resume: bool = False) -> Iterator[tuple[Path | None, Report]]:
        """Give the block the folder for finished parts, of this very run alone, and what is told of its progress."""
        partial = None if out is None else partial_folder(out, self.recorded, resume)
        with progress_bars() as report:
            yield partial, report

    def show(self, tables: Sequence[Table]) -> tuple[Table, ...]:
        """Print tables with what has to stand beside them, and return them so."""
        stated = tuple(self.seen.beside(table) for table in tables)
        for table in stated:
            show_table(table)
        return stated

    def write(self, out: Path, summary: Mapping[str, Any], columns: Mapping[str, Columns], page: Page) -> None:
        """Write the results together, then remove the finished parts."""
        write_tables(out, summary, columns, {"index.html": render_page(page)})
        remove_partial(out)
        note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")


def opened(settings: Measured, also: Callable[[], object] = lambda: None) -> Opened:
    """Set the threads and open the images and the encoder that the settings name; ``also`` opens what lies between."""
    set_threads(settings.run.threads)
    dataset = settings.data.open()
    also()
    return Opened.of(settings, dataset, Encoder.from_config(settings.encoder, device=settings.run.device))


def set_threads(threads: int | None) -> None:
    """Use so many threads; None leaves PyTorch's default."""
    if threads is not None:
        torch.set_num_threads(threads)


def recorded(settings: Measured, encoder: Encoder, dataset: LabeledImages) -> dict[str, Any]:
    """Return the provenance of figures measured with these settings; of the machine no path and no date."""
    plain, checkpoint = settings.model_dump(mode="json", exclude={"run"}), settings.encoder.checkpoint
    for section in ("data", "gallery"):
        if plain.get(section) is not None:
            plain[section] = without_places(plain[section])
    plain["encoder"]["checkpoint"] = None if checkpoint is None else checkpoint.name
    return provenance(plain, encoder, dataset, checkpoint=checkpoint, split=settings.data.loaded_split)
