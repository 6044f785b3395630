"""The road of every command that measures: read settings, open, check, measure, print, write.

A command says what it measures, and what its page shows; all else stands here.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from episodes import LabeledImages
from fsl_explain.backbones.compiled import COMPILED
from fsl_explain.backbones.random_parts import random_words
from fsl_explain.cli.broken import without_broken
from fsl_explain.cli.centering import as_set
from fsl_explain.cli.progress import note, progress_bars, show_table
from fsl_explain.cli.seen import check_evaluated
from fsl_explain.config import EncoderConfig
from fsl_explain.config.center import BANK, CenterConfig
from fsl_explain.config.data import DataConfig
from fsl_explain.config.settings import RunConfig
from fsl_explain.config.strict import without_places
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.results.read_back import CENTERED_ON, LEFT_OUT, RANDOM_PARTS, caveats_of
from fsl_explain.evaluation.results.saved_maps import MAPS, remove_maps
from fsl_explain.evaluation.results.written import (
    UNFINISHED,
    Columns,
    partial_folder,
    provenance,
    remove_empty,
    remove_partial,
    write_tables,
)
from fsl_explain.evaluation.seen_classes import SeenClasses
from fsl_explain.evaluation.table import Table
from fsl_explain.explainers.methods.class_logit import CLASS_LOGIT
from fsl_explain.explainers.methods.named import find_method
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
        stated = {RANDOM_PARTS: list(encoder.random), CENTERED_ON: encoder.centered_on}
        return cls(dataset, encoder, seen, recorded(settings, encoder, dataset) | seen.recorded | stated)

    @contextmanager
    def measuring(self, out: Path | None, resume: bool = False) -> Iterator[tuple[Path | None, Report]]:
        """Give the block the folder for finished parts, of this very run alone, and what is told of its progress."""
        was_there = out is not None and out.exists()
        partial = None if out is None else partial_folder(out, self.recorded, resume)
        if out is not None and partial is not None and resume:
            _say_what_is_left(out, partial)
        try:
            with progress_bars() as report:
                yield partial, report
        except BaseException:
            if out is not None and partial is not None:
                remove_empty(partial, *(() if was_there else (out,)))
            raise

    def show(self, tables: Sequence[Table]) -> tuple[Table, ...]:
        """Print tables with what has to stand beside them, and return them so."""
        beside = caveats_of(self.recorded)
        stated = [replace(table, notes=(*beside, *table.notes)) for table in tables]
        for table in stated:
            show_table(table)
        return tuple(stated)

    def write(
        self,
        out: Path,
        summary: Mapping[str, Any],
        columns: Mapping[str, Columns],
        page: Page,
        maps: Path | None = None,
    ) -> None:
        """Write the results together, then remove the finished parts, and maps that are not of these results."""
        write_tables(out, summary, columns, {"index.html": render_page(page)})
        remove_partial(out)
        if maps is None:
            remove_maps(out / MAPS)
        else:
            note(f"Maps: {maps}, for fsl_explain.evaluation.load_maps({str(out)!r})")
        note(f"Results: {out / 'summary.json'} and, for people, {out / 'index.html'}")


def opened(
    settings: Measured,
    methods: Sequence[str],
    also: Callable[[], object] = lambda: None,
    center: CenterConfig | None = None,
    supports: Callable[[Encoder, LabeledImages], Tensor] | None = None,
    skip_broken: bool = False,
    beside_a_bank: bool = False,
) -> Opened:
    """Set the threads and open the images and the encoder that the settings name, for these methods.

    ``also`` opens what lies between. With a ``center`` the encoder is centered; ``supports`` gives the embeddings of
    those that all decisions share. ``beside_a_bank``, or centered on one, the network runs as it is: it filled it.
    With ``skip_broken`` images that cannot be read are left out, which every table then says.
    """
    set_threads(settings.run.threads)
    whole = settings.data.open()
    dataset = without_broken(whole) if skip_broken else whole
    also()
    of_a_bank = beside_a_bank or (center is not None and center.kind == BANK)
    described = settings.encoder.as_written if of_a_bank else settings.encoder
    encoder = encoder_for_methods(described, methods, settings.run.device)
    say_beforehand(encoder)
    shared = None if supports is None else functools.partial(supports, encoder, dataset)
    made = Opened.of(settings, dataset, as_set(encoder, center, shared))
    made.recorded[LEFT_OUT] = {"data": [len(whole) - len(dataset), len(whole)]}
    return made


def encoder_for_methods(config: EncoderConfig, methods: Sequence[str], device: str = "cpu") -> Encoder:
    """Build the encoder of a configuration, of which ``auto`` is not folded where a method goes back to the pixels.

    Such a method may read how the network is written: FullGrad has an addend for each bias, and folding makes one of
    two. The others read maps and embeddings, or ask the network again, and those are equal.
    """
    known = (find_method(name) for name in methods if name != CLASS_LOGIT.name)
    whole = any(method.differentiates for method in known)
    return Encoder.from_config(config, device=device, frozen=not whole)


def maps_folder(out: Path | None, save_maps: bool) -> Path | None:
    """Return the folder for raw maps in that of the results, where they are asked for."""
    return None if out is None or not save_maps else out / MAPS


def say_beforehand(encoder: Encoder) -> None:
    """Say on stderr that an encoder has random weights, and that it is to be compiled, where that is so."""
    words = random_words(encoder.random)
    if words:
        note(f"{encoder.description}: {words} Name weights for another one.")
    if encoder.inference == COMPILED:
        note(f"{encoder.description}: compiling the network with the first images may take some minutes.")


def _say_what_is_left(out: Path, partial: Path) -> None:
    """Say that unfinished parts in a folder are not of this run, where none is."""
    others = [folder for folder in out.glob(f"{UNFINISHED}*") if folder != partial]
    if others and not any(partial.iterdir()):
        note(
            f"The unfinished parts in {out} are of a run with other settings, images, weights or versions; "
            "it begins at the beginning."
        )


def set_threads(threads: int | None) -> None:
    """Use so many threads; None leaves PyTorch's default."""
    if threads is not None:
        torch.set_num_threads(threads)


def recorded(settings: Measured, encoder: Encoder, dataset: LabeledImages) -> dict[str, Any]:
    """Return the provenance of figures measured with these settings; of the machine no path and no date."""
    plain, checkpoint = settings.model_dump(mode="json", exclude={"run"}), settings.encoder.checkpoint
    for section in ("data", "gallery", "center"):
        if plain.get(section) is not None:
            plain[section] = without_places(plain[section])
    if "explanation" in plain:
        plain["explanation"]["metrics"] = [Path(name).name for name in plain["explanation"].get("metrics", ())]
    plain["encoder"]["checkpoint"] = None if checkpoint is None else checkpoint.name
    return provenance(plain, encoder, dataset, checkpoint=checkpoint, split=settings.data.loaded_split)
