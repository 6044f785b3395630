"""Which map tells what the model does: real drops of the lead when regions of photographs are removed.

    python benchmarks/removal.py [--config configs/live/compare-pets.toml] [--images 100] [--removal blur mean patch]
    python benchmarks/removal.py --methods contrast grad-cam --head none --grid 14 --ask random --out removal.json

The data, the encoder, the rule and the shots are those of a comparison's configuration; the head is fitted on images
that are neither supports nor judged. Regions are the cells of a square grid. For every image the network is asked for
``--draws`` random sets of regions, for each region alone, and for all regions one by one in ``--pairs`` random orders
and their reverse, whose mean are Shapley values; these passes serve all maps. The number that falls is the lead of the
predicted class over its runner-up, both frozen. Maps with "lead" explain that number, as contrast does; the others
explain the predicted class's own score, as they are commonly used. A row of another reading of the network, such as
several scales, is judged by the drops of its own decision.

Prints for each way of removing a table of means over images, beside maps that see nothing, edges, and an untrained
network, and one of paired differences from ``--against``. Every figure of every image goes to ``--out``. With
``--passes`` what the network said is kept in a folder, so that further maps of the same images cost nothing more.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain import Encoder
from fsl_explain.config import ComparisonConfig, read_config
from fsl_explain.engine import Part
from fsl_explain.evaluation.chosen_methods import named_methods
from fsl_explain.evaluation.comparison.compared_images import draw_supports
from fsl_explain.evaluation.comparison.decisions import ComparedDecisions
from fsl_explain.evaluation.comparison.judged_maps import Curves, MapWork
from fsl_explain.evaluation.comparison.removed_regions import RegionRemovals, RemovedRegions
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import OF_ALL_REMOVALS, find_figures
from fsl_explain.evaluation.image_store import embed_unique
from fsl_explain.evaluation.mosaics.fitted_heads import fit_head
from fsl_explain.evaluation.results.read_back import StoredResults
from fsl_explain.evaluation.tables.paired_table import comparison_table, difference_table
from fsl_explain.explainers.method import Attribution, Method
from fsl_explain.explainers.methods.altered_queries import pixels_of
from fsl_explain.explainers.methods.named import METHODS, TRIVIAL
from fsl_explain.explainers.methods.relax import RelaxOptions, relax_method
from fsl_explain.explainers.normalization import upsample
from fsl_explain.explainers.question import Question
from fsl_explain.registries import REMOVALS, TOKEN_METHODS
from fsl_explain.report.table_formats import as_markdown

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "configs" / "live" / "compare-pets.toml"
ASKED = ("random", "single", "shapley")
FIGURES = find_figures(OF_ALL_REMOVALS, ("saliency", *(f"{one}_removals" for one in ASKED)), "this benchmark")
SLOW = ("occlusion", "relax", "u-relax", "score-cam", "ablation-cam", "smoothgrad", "integrated-gradients")
UNTRAINED = "untrained network"
Kept = dict[tuple[str, int], Tensor]


@dataclass(frozen=True)
class Reading:
    """One way to read the network: how it is made of the encoder, and whether its decision is the encoder's own.

    Where it is, only maps that are then drawn finer have a row, judged by the same drops. Where it is not, maps are
    judged by the drops of their own decision, or, with ``own=False``, by those of the encoder's.
    """

    name: str
    made_of: Callable[[Encoder], Encoder]
    decides_alike: bool = True
    own: bool = True


def edges(question: Question) -> Attribution:
    """Return how much the brightness of each pixel differs from its neighbors: what any photograph has."""
    gray = pixels_of(question).images.mean(dim=-3)
    down, across = (gray.diff(dim=axis, append=gray.narrow(axis, -1, 1)) for axis in (-2, -1))
    undefined = question.undefined
    return Attribution(undefined, torch.hypot(down, across), undefined[..., 0])


EDGES = replace(METHODS["all-ones"], attribute=edges, saliency=upsample, name="edges")
READINGS = {
    one.name: one
    for one in (
        Reading("", lambda encoder: encoder),
        Reading("detail 1:", lambda encoder: encoder.with_detail(1)),
        Reading("detail 1, apart:", lambda encoder: encoder.with_detail(1, "apart")),
        Reading("detail 2:", lambda encoder: encoder.with_detail(2)),
        Reading("scales 224 and 448:", lambda encoder: encoder.at_scales((224, 448)), decides_alike=False),
        Reading("scales, drops at 224:", lambda encoder: encoder.at_scales((224, 448)), decides_alike=False, own=False),
    )
}
"""By what stands before the method in a row; a line adds one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--head", default="class-pca")
    parser.add_argument("--fit", type=int, help="images that the head is fitted on; all that are left by default")
    parser.add_argument("--methods", nargs="+", default=[*usual_methods()])
    parser.add_argument("--readings", nargs="+", default=[*READINGS], choices=READINGS)
    parser.add_argument("--removal", nargs="+", default=["blur"], choices=REMOVALS)
    parser.add_argument("--ask", nargs="+", default=[*ASKED], choices=ASKED, help="which sets of regions are removed")
    parser.add_argument("--grid", type=int, default=7)
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--relax-masks", type=int, default=256)
    parser.add_argument("--against", default="contrast")
    parser.add_argument("--passes", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = read_config(options.config, ComparisonConfig)
    measured, yardstick = {}, Yardstick(settings, options)
    for how in options.removal:
        removals = RegionRemovals(options.grid, options.draws, options.pairs, how, options.seed)
        figures = yardstick.rows(removals)
        measured[how] = {row: {name: values.tolist() for name, values in found.items()} for row, found in figures}
        names = [figure.name for figure in yardstick.figures]
        print_tables(measured[how], names, f"{options.config.stem}, {how}", options.against)
    if options.out is not None:
        options.out.write_text(json.dumps(measured))


class Yardstick:
    """The judged images of one data set, and every map of them."""

    def __init__(self, settings: ComparisonConfig, options: argparse.Namespace) -> None:
        self.settings, self.options = settings, options
        asked = {f"{one}_removals" for one in options.ask}
        self.figures = tuple(figure for figure in FIGURES if asked & set(figure.needs))
        self.dataset: LabeledImages = settings.data.open()
        self.supports = draw_supports(self.dataset, settings.maps.shots, settings.maps.seed)
        left = np.setdiff1d(np.arange(len(self.dataset)), self.supports.flatten().numpy())
        shuffled = np.random.default_rng(options.seed).permutation(left)
        self.judged = np.sort(shuffled[: options.images])
        self.fitting = np.sort(shuffled[options.images :][: options.fit])
        self.encoder = self.under_head(Encoder.from_config(settings.encoder, device=settings.run.device))

    def rows(self, removals: RegionRemovals) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield each row's name and its figures, one value an image; a map that does not apply is told of."""
        own = self.decisions(self.encoder)
        asked = RemovedRegions(
            self.encoder, own, removals, self.settings.run.batch_size, self.passes("", removals, own)
        )
        for name in self.options.readings:
            reading = READINGS[name]
            encoder, decisions, judge = reading.made_of(self.encoder), own, asked
            if not reading.decides_alike:
                decisions = self.decisions(encoder)
            if not reading.decides_alike and reading.own:
                known = self.passes(name, removals, decisions)
                judge = replace(asked, encoder=encoder, decisions=decisions, kept=known)
            if name and reading.decides_alike:
                decisions = replace(own, store=replace(own.store, finer=encoder.finer))
            for row, method in methods_of(self.options.methods, self.options.relax_masks).items():
                if name and (row in (*TRIVIAL, EDGES.name) or (reading.decides_alike and not method.draws_finer)):
                    continue
                yield from self.row(f"{name} {row}".strip(), method, encoder, decisions, judge)
                self.keep("" if judge is asked else name, judge)
        guess = untrained(self.encoder)
        frozen = replace(self.decisions(guess), scores=own.scores)
        yield from self.row(UNTRAINED, METHODS["contrast"], guess, frozen, asked)

    def row(
        self, name: str, method: Method, encoder: Encoder, decisions: ComparedDecisions, asked: RemovedRegions
    ) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield one row, or nothing where the map does not apply, which is told on stderr."""
        every = torch.ones(len(self.judged), dtype=torch.bool)
        curves = Curves(self.settings.maps.steps, self.settings.maps.removed, 0.2)
        work = MapWork(encoder, decisions, {name: method}, self.figures, every, curves, asked)
        found: dict[str, list[Tensor]] = {figure.name: [] for figure in self.figures}
        try:
            for places in torch.arange(len(self.judged)).split(self.settings.run.batch_size):
                for figure, values in work(Part(name, {"method": name, "places": places.tolist()})).items():
                    found[figure].append(values)
        except Mistake as error:
            print(f"{name}: {error}", file=sys.stderr)
            return
        figures = {figure: torch.cat(values).double().cpu().numpy() for figure, values in found.items()}
        means = ", ".join(
            f"{figure} {np.nanmean(values):.3f}" for figure, values in figures.items() if not_empty(values)
        )
        print(f"{asked.removals.removal}, {name}: {means or 'says nothing'}", file=sys.stderr, flush=True)
        yield name, figures

    def passes(
        self, reading: str, removals: RegionRemovals, decisions: ComparedDecisions
    ) -> dict[tuple[str, int], Tensor]:
        """Return what an earlier run asked of these images, if it decided them alike."""
        path = self._place(reading, removals)
        if path is None or not path.is_file():
            return {}
        known = torch.load(path, weights_only=True)
        if not torch.allclose(known["whole"], decisions.scores, rtol=1e-4, atol=1e-5):
            raise Mistake(f"{path} is of other decisions than these; remove it, or name another folder.")
        return dict(known["kept"])

    def keep(self, reading: str, asked: RemovedRegions) -> None:
        """Keep what was asked for a later run."""
        path = self._place(reading, asked.removals)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"whole": asked.decisions.scores, "kept": asked.kept}, path)

    def _place(self, reading: str, one: RegionRemovals) -> Path | None:
        options = self.options
        name = f"{options.config.stem}-{options.head}-{options.images}-{one.removal}-{one.grid}-{one.draws}-{one.pairs}"
        return None if options.passes is None else options.passes / f"{name}-{one.seed}-{reading or 'plain'}.pt"

    def decisions(self, encoder: Encoder) -> ComparedDecisions:
        """Embed supports and judged images, and decide."""
        queries, maps = torch.from_numpy(self.judged), self.settings.maps
        images = [*self.judged.tolist(), *self.supports.flatten().tolist()]
        store = embed_unique(encoder, self.dataset, images, self.settings.run.batch_size, lambda _done: None)
        by = DecidedBy.of(maps.rule, maps.similarity, encoder.scales)
        return ComparedDecisions.of(store, by, self.dataset.classes, self.supports, queries, maps.seed)

    def under_head(self, encoder: Encoder) -> Encoder:
        """Fit the head on what is neither a support nor judged."""
        if self.options.head == "none":
            return encoder
        size = self.settings.run.batch_size
        store = embed_unique(encoder, self.dataset, self.fitting.tolist(), size, lambda _done: None)
        labels = torch.from_numpy(np.asarray(self.dataset.labels))[torch.from_numpy(self.fitting)]
        head = fit_head(self.options.head, store.pooled, labels, self.options.seed)
        return encoder.with_head(head.to(store.pooled.dtype))


def usual_methods() -> Iterator[str]:
    """Name the maps of images that need no option of their own and no minutes an image."""
    for name, method in METHODS.items():
        if method.needs_no_option and name not in (*TOKEN_METHODS, *TRIVIAL, *SLOW):
            yield name


def methods_of(names: list[str], masks: int) -> Mapping[str, Method]:
    """Return the maps by row: each as it is, of the lead too where it explains a score, and those that see nothing."""
    found = {**named_methods([*names, *TRIVIAL]).in_tables, EDGES.name: EDGES}
    for name, certain in {"relax": False, "u-relax": True}.items():
        if name in found:
            found[name] = relax_method(RelaxOptions(masks=masks), certain=certain)
    for name, method in [*found.items()]:
        if method.explains == "score" and method.uses_supports and name != "exact":
            found[f"{name}, lead"] = replace(method, explains="contrast", tabled=None)
    return found


def untrained(encoder: Encoder) -> Encoder:
    """Return the same network with weights drawn anew, and no head."""
    guess = deepcopy(encoder)
    torch.manual_seed(0)
    for module in guess.network.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return guess.with_head(nn.Identity())


def not_empty(values: np.ndarray) -> bool:
    return not bool(np.isnan(values).all())


def print_tables(
    figures: Mapping[str, Mapping[str, list[float]]], names: Sequence[str], title: str, against: str
) -> None:
    """Print the means and the paired differences."""
    found = {row: {name: np.array(values) for name, values in one.items()} for row, one in figures.items()}
    results = StoredResults(title, "images", found)
    tables = [comparison_table(title, [results], names)]
    if against in figures:
        tables.append(difference_table(results, names, against))
    print(as_markdown(tables), flush=True)


if __name__ == "__main__":
    main()
