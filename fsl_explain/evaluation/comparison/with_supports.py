"""Explainers compared on annotated images: LaFAM's six figures, and what tells maps apart on single objects.

Every class has a few support images; every other image is decided, explained by each method and judged. Explainers
that ask the network again, such as RELAX, and the curves of insertion and deletion take a sample of the images.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.classifiers import Rule
from fsl_explain.classifiers.local.local_features import encoder_for
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.engine import LOCAL, EngineChoice, Part, Result, engine_for
from fsl_explain.evaluation.chosen_methods import expect_fitting
from fsl_explain.evaluation.comparison.compared_images import (
    METHODS_COMPARED,
    MapComparison,
    compared_methods,
    draw_supports,
    sampled_places,
)
from fsl_explain.evaluation.comparison.decisions import ComparedDecisions
from fsl_explain.evaluation.comparison.judged_maps import Curves, MapWork
from fsl_explain.evaluation.comparison.removed_regions import RegionRemovals, RemovedRegions
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.figures import OF_COMPARED_MAPS, Figure, find_figures
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.image_store import embed_by_role
from fsl_explain.evaluation.masked_queries import check_measuring
from fsl_explain.evaluation.results.saved_maps import about_images, maps_written
from fsl_explain.evaluation.run_identity import run_hash, text_hash
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.relax import RelaxOptions
from fsl_explain.progress import Report, silent
from fsl_explain.registries import MASKINGS
from fsl_explain.similarities import Similarity

NEEDS_OF_COMPARISONS = (
    "saliency",
    "mask",
    "boxes",
    "iou_threshold",
    "images",
    "other_saliency",
    "lead",
    "side",
    "steps",
    "random_removals",
    "single_removals",
    "shapley_removals",
)


def compare_maps(
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    methods: Sequence[str | Method] = METHODS_COMPARED,
    figures: Sequence[str | Figure] = OF_COMPARED_MAPS,
    rule: str | Rule = "prototype",
    similarity: str | Similarity = "cosine",
    shots: int = 5,
    seed: int = 0,
    sample: int = 100,
    relax: RelaxOptions | None = None,
    steps: int = 4,
    removed: str = "blur",
    removals: RegionRemovals | None = None,
    iou_threshold: float = 0.2,
    batch_size: int = 16,
    partial: Path | None = None,
    maps: Path | None = None,
    engine: EngineChoice = LOCAL,
    report: Report = silent,
) -> MapComparison:
    """Decide every query and measure every method's map of it.

    ``shots`` supports of each class are drawn from ``seed`` and never judged. ``sample`` images are for explainers that
    ask the network again, for the curves, of ``steps`` steps in which pixels become ``removed``: ``mean``, ``black`` or
    ``blur``, and for ``removals``, the regions that are removed in passes that serve all methods. ``relax`` are the
    options of relax and u-relax; names, objects, ``partial`` and ``maps`` as in ``evaluate_episodes``, but maps of
    wrong decisions are among them.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for a value that does not fit, a class without an image
    beside its supports, or fewer than two classes.
    """
    expect_encoder(encoder, "encoder, data set")
    check_measuring("mean", iou_threshold, batch_size)
    _check_curves(steps, removed)
    options = RelaxOptions(seed=seed, batch_size=batch_size) if relax is None else relax
    chosen = compared_methods(methods, options)
    expect_fitting(chosen, encoder, rule)
    shown = find_figures(figures, NEEDS_OF_COMPARISONS, "a comparison of maps")
    decided_by, supports = DecidedBy.of(rule, similarity, encoder.scales), draw_supports(dataset, shots, seed)
    encoder = encoder_for(decided_by.rule, encoder)
    report("embedding images", 0, len(dataset))
    every = range(len(dataset))
    store = embed_by_role(
        encoder, dataset, every, supports, batch_size, lambda done: report("embedding images", done, len(dataset))
    )
    queries = _queries(dataset, supports)
    sampled = sampled_places(len(queries), sample, seed)
    by = decided_by.over(store.first)
    decisions = ComparedDecisions.of(store, by, dataset.classes, supports, queries, seed)
    regions = RegionRemovals(seed=seed) if removals is None else removals
    settings = {
        "methods": [*chosen, options, [one for one in methods if not isinstance(one, str)]],
        "figures": [identity(figure) for figure in shown],
        "decision": [decided_by.chosen_rule, decided_by.chosen_similarity, supports.tolist(), seed],
        "curves": [steps, removed, iou_threshold, *(["maps"] if maps is not None else [])],
        "removals": list(vars(regions).values()),
    }
    parts = list(_parts(chosen, sampled, batch_size, settings))
    run = "" if partial is None else run_hash(encoder, dataset, settings, contents=text_hash(*store.contents))
    running = engine_for(engine, partial, run)
    curves = Curves(steps, removed, iou_threshold)
    asked = RemovedRegions(encoder, decisions, regions, batch_size)
    make = functools.partial(MapWork, encoder, decisions, chosen, shown, sampled, curves, asked, maps is not None)
    empty = {one.name: torch.full((len(chosen), len(queries)), torch.nan).double() for one in shown}
    predicted = [dataset.classes[label] for label in decisions.predicted.tolist()]
    with maps_written(maps, functools.partial(about_images, dataset, queries, predicted)) as taken:
        found = _filled(empty, tuple(chosen), taken(running.map(make, parts), parts), parts, report)
    truth = torch.from_numpy(dataset.labels)[queries]
    return MapComparison(tuple(chosen), queries, truth, decisions.predicted, sampled, found)


def _filled(
    figures: dict[str, Tensor],
    methods: tuple[str, ...],
    results: Iterator[tuple[int, Result]],
    parts: Sequence[Part],
    report: Report,
) -> dict[str, Tensor]:
    """Write results at the places of their method and queries, in whichever order they come."""
    total = sum(len(part.made_of["places"]) for part in parts)
    report("comparing maps", 0, total)
    for position, result in results:
        made_of = parts[position].made_of
        for figure, values in result.items():
            figures[figure][methods.index(made_of["method"]), made_of["places"]] = values.double()
        report("comparing maps", len(made_of["places"]), total)
    return figures


def _parts(
    methods: Mapping[str, Method], sampled: Tensor, batch_size: int, settings: Mapping[str, Any]
) -> Iterator[Part]:
    """Cut each method's queries into batches that are sampled, as curves need it, and batches that are not.

    A method that asks the network again and again gets parts of one query each, which many workers share. The group of
    a part is that of its batch, whose removals serve all methods.
    """
    chosen, rest = sampled.nonzero().squeeze(1), (~sampled).nonzero().squeeze(1)
    for name, method in methods.items():
        others = () if method.perturbs or not len(rest) else rest.split(batch_size)
        for number, batch in enumerate((*chosen.split(batch_size), *others)):
            for place, places in enumerate(batch.split(1) if method.asks_again_and_again else (batch,)):
                made_of = {"method": name, "places": places.tolist(), "settings": identity(settings)}
                apart = f"-query-{place:03}" if method.asks_again_and_again else ""
                yield Part(f"{name}-{number:05}-of-{batch_size}{apart}", made_of, f"batch {number}")


def _queries(dataset: LabeledImages, supports: Int[Tensor, "way shot"]) -> Int[Tensor, "query"]:
    is_query = torch.ones(len(dataset), dtype=torch.bool)
    is_query[supports.flatten()] = False
    return is_query.nonzero().squeeze(1)


def _check_curves(steps: int, removed: str) -> None:
    if steps < 1:
        raise Mistake(f"expected at least 1 step of the curves, but got {steps}; raise steps.")
    MASKINGS.checked(removed)
