"""Evaluation of retrieval: how well a query's neighbors keep its class together, and how far the maps can be trusted.

Explanations are measured as in FAM Tables III (vote of the neighbors) and IV (nearest neighbor). Every image is
embedded once.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.classifiers import NeighborRule, Vote
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.engine import LOCAL, Engine, EngineChoice, engine_for
from fsl_explain.evaluation.chosen_methods import ChosenMethods, expect_fitting, named_methods, with_baselines
from fsl_explain.evaluation.figures import OF_DECISIONS, Figure, find_figures
from fsl_explain.evaluation.identity import identity
from fsl_explain.evaluation.image_store import Advance, embed_in_pieces
from fsl_explain.evaluation.masked_queries import NEEDS_OF_DECISIONS, check_measuring
from fsl_explain.evaluation.results.saved_maps import Taken, about_images, maps_written
from fsl_explain.evaluation.run_identity import arrays_hash, contents_hash, indices_hash, run_hash
from fsl_explain.explainers.method import Method
from fsl_explain.progress import Report, silent
from fsl_explain.scales import compared_at
from fsl_explain.similarities import Similarity, named_similarity
from retrieval_explain.decisions.chosen_classes import choose
from retrieval_explain.decisions.questions import Voted
from retrieval_explain.evaluation.bank_gallery import BankGallery
from retrieval_explain.evaluation.deciding import Deciding, looked_at
from retrieval_explain.evaluation.measured_decisions import DecisionsToExplain, Measuring, RuleFigures
from retrieval_explain.evaluation.query_images import QueryImages
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.ranking.ranked_lists import Tied
from retrieval_explain.ranking.retrieval_scores import Searched, chance_levels, retrieval_scores
from retrieval_explain.store.given_rows import check_rows
from retrieval_explain.store.similarity_names import words_of

QUERIES_AT_ONCE = 1024
METHODS_MEASURED = ("fam", "exact", "contrast", "grad-cam")


@dataclass(frozen=True)
class BankEvaluation:
    """Everything that was measured, query by query.

    ``scores`` are by name: recall@1, 2, 4 and 8 (metric learning's: whether one of so many has the class), r-precision
    and map@r (Musgrave et al., 2020), weighted vote (NPID) and majority vote. All are in [0, 1], larger is better, and
    NaN for a query without another image of its class. ``chance`` is their mean where all images are alike.

    ``images`` are the queries' places in the data set, ``labels`` indices into ``classes``: the gallery's, then those
    that only queries have. ``neighbors`` (query, k) are rows of the gallery, of which each query is compared with
    ``reach`` images. ``rules`` have the figures of explanations, as FAM Tables III (votes) and IV (nearest neighbor);
    ``methods``, those asked for and then the baselines, are their rows.
    """

    images: Int[Tensor, "query"]
    labels: Int[Tensor, "query"]
    classes: tuple[str, ...]
    neighbors: Neighbors
    reach: int
    scores: dict[str, Tied]
    chance: dict[str, float]
    methods: tuple[str, ...]
    rules: tuple[RuleFigures, ...]


def measured_methods(methods: Sequence[str | Method]) -> ChosenMethods:
    """Return the methods asked for, then the baselines.

    Raises: ``LookupError`` for an unknown one; ``ValueError`` for one that explains no class score and no lead, or
    that asks the network again.
    """
    for name, method in named_methods(methods).items():
        if not method.needs_no_option:
            raise Mistake(f"expected explainers of a class's score or of its lead, but got {name!r}; drop it.")
        if method.perturbs:
            raise Mistake(f"expected explainers of features, but {name!r} asks the network again; drop it.")
    return with_baselines(methods)


def evaluate_bank(
    encoder: Encoder,
    dataset: LabeledImages,
    *,
    gallery: LabeledImages | None = None,
    limit: int | None = None,
    methods: Sequence[str | Method] = METHODS_MEASURED,
    figures: Sequence[str | Figure] = OF_DECISIONS,
    rules: Sequence[str | NeighborRule] = ("knn-vote", "nearest-neighbor"),
    k: int = DEFAULT_K,
    temperature: float = 0.07,
    similarity: str | Similarity = "cosine",
    masking: str = "mean",
    iou_threshold: float = 0.2,
    batch_size: int = 16,
    partial: Path | None = None,
    maps: Path | None = None,
    engine: EngineChoice = LOCAL,
    report: Report = silent,
) -> BankEvaluation:
    """Search every query, decide by every rule, explain the correct decisions, and measure all of it.

    ``gallery`` is searched, but a query never finds its own file; None: the other images of ``dataset``. ``limit``
    takes so many queries only, evenly spread over the data set; the gallery stays whole. ``k`` neighbors vote, from 1
    to 200, all where there are fewer, with weights exp(similarity / ``temperature``) in knn-vote. ``masking`` says what
    removed pixels become: ``mean``, ``black`` or ``blur``; ``iou_threshold``, between 0 and 1, is the share of a map's
    maximum above which it counts as the object. Names, objects, ``partial``, ``maps``, ``engine`` and ``report`` as in
    ``fsl_explain.evaluation.evaluate_episodes``.

    Raises: ``LookupError`` for an unknown name; ``ValueError`` for a value that does not fit, where there is nothing to
    search, or an embedding cannot be compared; ``TypeError`` for arguments in another order.
    """
    expect_encoder(encoder, "encoder, data set")
    check_measuring(masking, iou_threshold, batch_size)
    deciding = Deciding.of(rules, k, temperature, compared_at(encoder.scales, named_similarity(similarity)))
    chosen = measured_methods(methods)
    expect_fitting(chosen, encoder)
    shown = find_figures(figures, NEEDS_OF_DECISIONS, "an evaluation of a bank")
    measuring = Measuring(masking, iou_threshold, shown, keeps_maps=maps is not None)
    images = _spread(len(dataset), limit)
    asked, searched, classes = _embed(encoder, dataset, gallery, images, deciding.similarity, batch_size, report)
    queries = len(images)
    report("scoring retrieval", 0, queries)
    scores = retrieval_scores(searched, k, temperature, lambda n: report("scoring retrieval", n, queries))
    neighbors = searched.neighbors(k)
    voted = {
        name: _vote(rule, searched, looked_at(rule, searched, neighbors), len(classes))
        for name, rule in deciding.rules.items()
    }
    decisions = DecisionsToExplain(asked, searched.labels, voted, chosen, measuring)
    settings = {
        "methods": [*chosen, [one for one in methods if not isinstance(one, str)]],
        "measuring": identity(measuring),
        "deciding": identity(deciding),
        "gallery": indices_hash(searched.gallery_labels, searched.own),
        "neighbors": indices_hash(neighbors.indices),
    }
    run = "" if partial is None else run_hash(encoder, dataset, settings, contents=_contents(dataset, images, searched))
    running = engine_for(engine, partial, run)
    with maps_written(maps, functools.partial(_about, decisions, dataset, classes)) as taken:
        explained = _explain(decisions, running, identity(settings), report, taken)
    return BankEvaluation(
        images=images,
        labels=searched.labels,
        classes=classes,
        neighbors=neighbors,
        reach=searched.reach,
        scores=scores,
        chance=chance_levels(searched, k),
        methods=tuple(chosen),
        rules=explained,
    )


def _explain(
    decisions: DecisionsToExplain, running: Engine, settings: str, report: Report, taken: Taken
) -> tuple[RuleFigures, ...]:
    """Explain and measure the decisions of every rule, some queries at a time."""
    parts = list(decisions.parts(settings))
    total = sum(decisions.maps_of(part) for part in parts)
    report("explaining decisions", 0, total)
    found = {}
    made = running.map(functools.partial(replace, decisions, opened={}), parts)
    for position, result in taken(made, parts):
        made_of = parts[position].made_of
        found[made_of["piece"], made_of["method"]] = result
        report("explaining decisions", decisions.maps_of(parts[position]), total)
    return decisions.join(found)


def _about(
    decisions: DecisionsToExplain, dataset: LabeledImages, classes: Sequence[str], numbers: Int64[np.ndarray, "map"]
) -> dict[str, Any]:
    """Return what is known of decisions that are numbered rule after rule, as columns."""
    queries, rules = len(decisions.labels), list(decisions.voted)
    predicted = [classes[label] for one in decisions.voted.values() for label in one.chosen.predicted.tolist()]
    every = decisions.asked.images.repeat(len(rules))
    rule = [rules[number // queries] for number in numbers.tolist()]
    return {"rule": rule} | about_images(dataset, every, predicted, numbers) | {"query": numbers % queries}


def _embed(
    encoder: Encoder,
    dataset: LabeledImages,
    gallery: LabeledImages | None,
    images: Int[Tensor, "query"],
    similarity: str | Similarity,
    batch_size: int,
    report: Report,
) -> tuple[QueryImages, Searched, tuple[str, ...]]:
    """Embed queries and gallery, and number their classes alike: the gallery's first, in its own order."""
    of_gallery = dataset if gallery is None else gallery
    total = len(of_gallery) + (0 if gallery is None else len(images))

    def advance(done: int) -> None:
        report("embedding images", done, total)

    advance(0)
    asked = QueryImages.embed(encoder, dataset, images, batch_size, advance)
    classes = tuple(dict.fromkeys((*of_gallery.classes, *dataset.classes)))
    number = torch.tensor([classes.index(name) for name in dataset.classes])
    searched = Searched(
        queries=asked.embeddings,
        labels=number[torch.from_numpy(dataset.labels)[images]],
        own=images if gallery is None else _own_rows(dataset, images, gallery),
        gallery=_with_the_others(asked, advance)
        if gallery is None
        else _embeddings(encoder, gallery, batch_size, advance),
        gallery_labels=torch.from_numpy(of_gallery.labels.astype(np.int64)),
        similarity=_similarity(gallery, similarity),
    )
    check_rows(searched.queries, searched.similarity, _names(dataset, images.tolist()), "queries")
    check_rows(searched.gallery, searched.similarity, _names(of_gallery, range(len(of_gallery))), "gallery images")
    return asked, searched, classes


def _contents(dataset: LabeledImages, images: Int[Tensor, "query"], searched: Searched) -> str:
    """Return a hash of the queries as they are read, and of what they are compared with."""
    return arrays_hash(searched.gallery, searched.gallery_labels) + contents_hash(dataset, images.tolist())


def _with_the_others(asked: QueryImages, advance: Advance) -> Float[Tensor, "image channel"]:
    """Return the embeddings of the whole data set: those of the queries, and the others'."""
    is_query = torch.zeros(len(asked.dataset), dtype=torch.bool)
    is_query[asked.images] = True
    if bool(is_query.all()):
        return asked.embeddings
    found = asked.embeddings.new_empty(len(is_query), asked.embeddings.shape[1])
    others = (~is_query).nonzero()[:, 0]
    found[asked.images] = asked.embeddings
    found[others] = embed_in_pieces(asked.encoder, asked.dataset, others.tolist(), asked.batch_size, advance)
    return found


def _embeddings(
    encoder: Encoder, gallery: LabeledImages, batch_size: int, advance: Advance
) -> Float[Tensor, "image channel"]:
    """Return the embeddings that a bank holds already, or embed a gallery."""
    if not isinstance(gallery, BankGallery):
        return embed_in_pieces(encoder, gallery, range(len(gallery)), batch_size, advance)
    gallery.bank.expect_encoder(encoder)
    advance(len(gallery))
    return gallery.embeddings


def _similarity(gallery: LabeledImages | None, asked: str | Similarity) -> str | Similarity:
    """Return the similarity to search by, which has to be that of a bank; one without a name cannot be asked for."""
    if not isinstance(gallery, BankGallery):
        return asked
    kept = gallery.bank.similarity
    if isinstance(kept, str) and kept != asked:
        raise Mistake(
            f"the bank {gallery.name} is of {kept} similarity, but decision.similarity is {words_of(asked)!r}."
        )
    return kept


def _own_rows(dataset: LabeledImages, images: Int[Tensor, "query"], gallery: LabeledImages) -> Int[Tensor, "query"]:
    """Find each query's file in the gallery; -1 where it is not there, or an image has no file."""
    place = {path.resolve(): row for row, path in enumerate(gallery.paths) if path is not None}
    asked = [dataset.paths[image] for image in images.tolist()]
    return torch.tensor([-1 if path is None else place.get(path.resolve(), -1) for path in asked])


def _names(dataset: LabeledImages, indices: Sequence[int]) -> list[str]:
    return [str(dataset.paths[index] or "") for index in indices]


def _vote(rule: NeighborRule, searched: Searched, neighbors: Neighbors, classes: int) -> Voted:
    """Let the neighbors of all queries choose, some queries at a time."""
    labels = searched.gallery_labels[neighbors.indices]
    parts = slices(len(labels), QUERIES_AT_ONCE)
    chosen = [choose(rule, neighbors.similarities[part], labels[part], classes) for part in parts]
    joined = {name: torch.cat([getattr(one, name) for one in chosen]) for name in vars(chosen[0])}
    whole = rule.of(None) if isinstance(rule, Vote) else rule  # it votes among its neighbors alone
    return Voted(whole, searched.similarity, type(chosen[0])(**joined), neighbors.indices, labels, searched.gallery)


def _spread(images: int, limit: int | None) -> Int[Tensor, "query"]:
    """Choose queries at equal distances, because data sets list class after class."""
    if limit is not None and limit < 1:
        raise Mistake(f"expected a limit of at least 1 query, but got {limit}; None takes all.")
    count = images if limit is None else min(limit, images)
    return torch.arange(count) * images // count
