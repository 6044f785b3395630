"""A benchmark with a known right answer: four tiles of four classes, and a reference of one of them.

A map that explains the similarity of the mosaic to the reference lies in the tile of the reference's class; chance
is 25 %.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import Rule
from fsl_explain.encoder import Encoder
from fsl_explain.engine import LOCAL, EngineChoice, Part, engine_for
from fsl_explain.evaluation.chosen_methods import (
    BASELINES,
    ChosenMethods,
    expect_fitting,
    expect_pooled_values,
    named_methods,
)
from fsl_explain.evaluation.decided_by import DecidedBy
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.mosaics.explained_mosaics import CEILINGS, MosaicWork
from fsl_explain.evaluation.mosaics.fitted_heads import find_head
from fsl_explain.evaluation.mosaics.mosaic_store import MosaicStore
from fsl_explain.explainers.method import Method
from fsl_explain.heads import Pooling
from fsl_explain.heads.by_network import ByNetwork
from fsl_explain.progress import Report, silent
from fsl_explain.registries import MOSAIC_HEADS
from fsl_explain.similarities import Similarity

METHODS_ON_MOSAICS = ("fam", "grad-cam", "exact", "contrast")


@dataclass(frozen=True)
class MethodFigures:
    """One method's figures under one head, one value a mosaic; NaN where a map says nothing."""

    hit: Float[Tensor, "mosaic"]  # share of the map's maxima that lie in the right tile
    energy: Float[Tensor, "mosaic"]  # share of the map's positive mass in the right tile
    correlation: Float[Tensor, "mosaic"]  # of the maps of two references of different classes
    residual: Float[Tensor, "mosaic"]  # of the receipt, over its absolute terms; NaN where no sum is claimed


@dataclass(frozen=True)
class HeadFigures:
    """The figures of every method under one head, and of the model itself, shown each tile alone."""

    dimensions: int
    methods: dict[str, MethodFigures]
    one_reference: Float[Tensor, "mosaic"]  # 1 where the right tile alone is the most similar to the reference
    contrast: Float[Tensor, "mosaic"]  # 1 where its lead over the other classes' references is the largest


def measured_methods(methods: Sequence[str | Method]) -> ChosenMethods:
    """Return the baselines, then the methods asked for.

    Raises: ``LookupError`` for an unknown method, with the nearest names; ``ValueError`` for one that explains neither
    a score nor a contrast, or that alters images: it asks for the encoder's own embedding, whatever the head.
    """
    for name, method in named_methods(methods).items():
        if not method.needs_no_option:
            raise Mistake(
                f"mosaics ask for a class's score or its lead, but {name!r} explains another number; drop it."
            )
        if method.asks_again_and_again:
            raise Mistake(
                f"mosaics put heads on features that are kept, but {name!r} asks the whole encoder about altered "
                "images; drop it, or use fsl-explain compare."
            )
    return named_methods((*reversed(BASELINES), *methods))


def evaluate_mosaics(
    store: MosaicStore,
    pooling: Pooling,
    *,
    heads: Sequence[str] = tuple(MOSAIC_HEADS),
    methods: Sequence[str | Method] = METHODS_ON_MOSAICS,
    rule: str | Rule = "mean-similarity",
    similarity: str | Similarity = "cosine",
    seed: int = 0,
    encoder: Encoder | None = None,
    partial: Path | None = None,
    engine: EngineChoice = LOCAL,
    report: Report = silent,
) -> dict[str, HeadFigures]:
    """Explain every mosaic by every method under every head; the figures by name of head.

    ``seed`` is that of heads which are trained. ``encoder``, the one that the store was made with, is for methods that
    need its tokens or go back through its network. Names, objects and ``partial`` as in ``evaluate_episodes``.

    Raises: as ``measured_methods``; ``LookupError`` for an unknown head.
    """
    if isinstance(pooling, ByNetwork):
        raise Mistake(
            "mosaics keep activation maps and no pixels, but with tail='network' the network goes on from them, for "
            "which it has to see the images; use fsl-explain evaluate, or give the tail as pooling and head."
        )
    chosen = measured_methods(methods)
    decided_by = DecidedBy.of(rule, similarity, store.scales)  # of one reference a class
    expect_pooled_values(chosen, decided_by.rule, pooling)
    _expect_encoder(chosen, pooling, encoder, decided_by.rule)
    heads = check_heads(heads)
    settings: dict[str, Any] = {"heads": [*heads, seed], "methods": [*chosen, *methods]}
    settings["similarity"] = decided_by.chosen_similarity
    settings |= {} if rule == "mean-similarity" else {"rule": decided_by.chosen_rule}
    parts = list(_parts(heads, chosen, settings))
    running = engine_for(engine, partial, "" if partial is None else _hash(store, pooling, settings))
    found: dict[str, dict[str, Any]] = {name: {} for name in heads}
    total = len(chosen) * len(heads)
    report("explaining mosaics", 0, total)
    make = functools.partial(MosaicWork, store, pooling, decided_by, chosen, seed, encoder)
    for position, result in running.map(make, parts):
        head, method = parts[position].made_of["head"], parts[position].made_of["method"]
        for name in heads if method in chosen and not chosen[method].uses_supports else (head,):
            found[name][method] = result
            report("explaining mosaics", int(method in chosen), total)
    return {name: _head_figures(found[name], chosen) for name in heads}


def _expect_encoder(methods: Mapping[str, Method], pooling: Pooling, encoder: Encoder | None, rule: Rule) -> None:
    """Refuse methods that the encoder cannot answer, or without one, that ask its network. Raises: ``ValueError``."""
    asking = [name for name, method in methods.items() if method.asks_for_pixels(pooling)]
    if encoder is not None:
        expect_fitting(methods, encoder, rule)
    elif asking:
        raise Mistake(
            f"expected the encoder beside the mosaics, because {asking[0]!r} asks its network again, but got none; "
            "give encoder=, the one that the store was made with."
        )


def check_heads(heads: Sequence[str]) -> tuple[str, ...]:
    """Return heads by name, each once. Raises: ``LookupError`` with the nearest names; ``ValueError`` for none."""
    if not heads:
        raise Mistake(f"expected at least one head, but got none; choose some of {', '.join(MOSAIC_HEADS)}.")
    for name in heads:
        find_head(name)
    return tuple(dict.fromkeys(heads))


def _parts(heads: Sequence[str], methods: Mapping[str, Method], settings: Mapping[str, Any]) -> Iterator[Part]:
    """Take head after head by all methods; no head changes the map of a method that knows no reference."""
    for head in heads:
        names = [name for name, method in methods.items() if method.uses_supports or head == heads[0]]
        for name in (*names, CEILINGS):
            yield Part(f"{head}-{name}", {"head": head, "method": name, "settings": identity(settings)}, head)


def _head_figures(found: Mapping[str, Any], methods: Mapping[str, Method]) -> HeadFigures:
    ceilings = found[CEILINGS]
    measured = {name: MethodFigures(**found[name]) for name in methods}
    return HeadFigures(int(ceilings["dimensions"]), measured, ceilings["one_reference"], ceilings["contrast"])


def _hash(store: MosaicStore, pooling: Pooling, settings: Mapping[str, Any]) -> str:
    """Return what the figures depend on: all that the encoder made of the images, and the settings."""
    digest = hashlib.sha256(identity([pooling, dict(sorted(settings.items()))]).encode())
    for value in store.tensors():
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
