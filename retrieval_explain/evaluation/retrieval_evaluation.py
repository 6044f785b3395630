"""Evaluation of retrieval: how well a query's neighbors keep its class together, and how far the maps can be trusted.

Explanations are measured as in FAM Tables III (vote of the neighbors) and IV (nearest neighbor). Every image is
embedded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes import LabeledImages
from episodes.errors import Mistake
from fsl_explain.classifiers import RULES, NeighborRule, has_option, named_rule, neighbor_rules
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.episodes import BASELINES
from fsl_explain.evaluation.image_store import Advance, embed_in_pieces
from fsl_explain.evaluation.masked_queries import Judge
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.progress import Report, silent
from fsl_explain.similarities import Similarity
from retrieval_explain.decisions.chosen_classes import choose
from retrieval_explain.decisions.questions import Voted
from retrieval_explain.evaluation.bank_gallery import BankGallery
from retrieval_explain.evaluation.measured_decisions import DecisionsToExplain, RuleFigures, join_figures, maps_in_all
from retrieval_explain.evaluation.query_images import QueryImages
from retrieval_explain.memory_bank import check_rows
from retrieval_explain.ranking.neighbors import Neighbors
from retrieval_explain.ranking.ranked_lists import Tied
from retrieval_explain.ranking.retrieval_scores import Searched, chance_levels, retrieval_scores
from retrieval_explain.settings import BankEvaluationConfig, NeighborDecisionConfig

QUERIES_AT_ONCE = 1024


@dataclass(frozen=True)
class BankEvaluation:
    """Everything that was measured, query by query."""

    images: Int[Tensor, "query"]  # data set index of each query
    labels: Int[Tensor, "query"]  # index into ``classes``
    classes: tuple[str, ...]
    neighbors: Neighbors
    reach: int  # gallery images that a query is compared with
    scores: dict[str, Tied]
    chance: dict[str, float]
    methods: tuple[str, ...]
    rules: tuple[RuleFigures, ...]


def measured_methods(config: BankEvaluationConfig) -> tuple[str, ...]:
    """Return the methods asked for, then the baselines every table carries.

    Raises: ``LookupError`` for an unknown one; ``ValueError`` for one that explains no class score and no lead, or
    that changes the image.
    """
    for name in config.explanation.methods:
        if find_method(name).explains not in ("score", "contrast"):
            raise Mistake(f"expected explainers of a class's score or of its lead, but got {name!r}; drop it.")
        if find_method(name).perturbs:
            raise Mistake(f"expected explainers that read activation maps, but {name!r} changes the image; drop it.")
    return tuple(dict.fromkeys((*config.explanation.methods, *BASELINES)))


def evaluate_bank(
    encoder: Encoder,
    dataset: LabeledImages,
    config: BankEvaluationConfig,
    gallery: LabeledImages | None = None,
    limit: int | None = None,
    report: Report = silent,
) -> BankEvaluation:
    """Search every query, decide by every rule, explain the correct decisions, and measure all of it.

    ``gallery`` is searched, but a query never finds its own file; None: the other images of ``dataset``. ``limit``
    takes so many queries only, evenly spread over the data set; the gallery stays whole.

    Raises: ``ValueError`` where there is nothing to search, or an embedding cannot be compared.
    """
    methods, decision = measured_methods(config), config.decision
    images = _spread(len(dataset), limit)
    asked, searched, classes = _embed(encoder, dataset, gallery, images, config, report)
    queries = len(images)
    report("scoring retrieval", 0, queries)
    scores = retrieval_scores(
        searched, decision.k, decision.temperature, lambda n: report("scoring retrieval", n, queries)
    )
    neighbors = searched.neighbors(decision.k)
    voted = {name: _vote(_rule(name, decision), searched, neighbors, len(classes)) for name in decision.rules}
    return BankEvaluation(
        images=images,
        labels=searched.labels,
        classes=classes,
        neighbors=neighbors,
        reach=searched.reach,
        scores=scores,
        chance=chance_levels(searched, decision.k),
        methods=methods,
        rules=_explain(asked, voted, searched.labels, methods, config, report),
    )


def _explain(
    asked: QueryImages,
    voted: dict[str, Voted],
    labels: Int[Tensor, "query"],
    methods: tuple[str, ...],
    config: BankEvaluationConfig,
    report: Report,
) -> tuple[RuleFigures, ...]:
    """Explain and measure the decisions of every rule, some queries at a time."""
    explanation, size = config.explanation, config.run.batch_size
    total = maps_in_all(methods, voted, labels)
    report("explaining decisions", 0, total)
    measured = []
    for part, store in asked.pieces():
        judging = Judge(asked.encoder, store, explanation.masking, explanation.iou_threshold, size)
        decisions = DecisionsToExplain(judging, labels[part], {name: one.at(part) for name, one in voted.items()})
        measured.append(decisions.measure(methods, lambda done: report("explaining decisions", done, total)))
    return tuple(join_figures(of_one_rule) for of_one_rule in zip(*measured, strict=True))


def _embed(
    encoder: Encoder,
    dataset: LabeledImages,
    gallery: LabeledImages | None,
    images: Int[Tensor, "query"],
    config: BankEvaluationConfig,
    report: Report,
) -> tuple[QueryImages, Searched, tuple[str, ...]]:
    """Embed queries and gallery, and number their classes alike: the gallery's first, in its own order."""
    of_gallery = dataset if gallery is None else gallery
    total = len(of_gallery) + (0 if gallery is None else len(images))

    def advance(done: int) -> None:
        report("embedding images", done, total)

    advance(0)
    asked = QueryImages.embed(encoder, dataset, images, config.run.batch_size, advance)
    classes = tuple(dict.fromkeys((*of_gallery.classes, *dataset.classes)))
    number = torch.tensor([classes.index(name) for name in dataset.classes])
    searched = Searched(
        queries=asked.embeddings,
        labels=number[torch.from_numpy(dataset.labels)[images]],
        own=images if gallery is None else _own_rows(dataset, images, gallery),
        gallery=_with_the_others(asked, advance) if gallery is None else _embeddings(encoder, gallery, config, advance),
        gallery_labels=torch.from_numpy(of_gallery.labels.astype(np.int64)),
        similarity=_similarity(gallery, config.decision.similarity),
    )
    check_rows(searched.queries, searched.similarity, _names(dataset, images.tolist()), "queries")
    check_rows(searched.gallery, searched.similarity, _names(of_gallery, range(len(of_gallery))), "gallery images")
    return asked, searched, classes


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
    encoder: Encoder, gallery: LabeledImages, config: BankEvaluationConfig, advance: Advance
) -> Float[Tensor, "image channel"]:
    """Return the embeddings that a bank holds already, or embed a gallery."""
    if not isinstance(gallery, BankGallery):
        return embed_in_pieces(encoder, gallery, range(len(gallery)), config.run.batch_size, advance)
    gallery.bank.expect_encoder(encoder)
    advance(len(gallery))
    return gallery.embeddings


def _similarity(gallery: LabeledImages | None, asked: str) -> str | Similarity:
    """Return the similarity to search by, which has to be that of a bank; one without a name cannot be asked for."""
    if not isinstance(gallery, BankGallery):
        return asked
    kept = gallery.bank.similarity
    if isinstance(kept, str) and kept != asked:
        raise Mistake(f"the bank {gallery.name} is of {kept} similarity, but decision.similarity is {asked!r}.")
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
    starts = range(0, len(labels), QUERIES_AT_ONCE)
    parts = [slice(start, start + QUERIES_AT_ONCE) for start in starts]
    chosen = [choose(rule, neighbors.similarities[part], labels[part], classes) for part in parts]
    joined = {name: torch.cat([getattr(one, name) for one in chosen]) for name in vars(chosen[0])}
    return Voted(rule, searched.similarity, type(chosen[0])(**joined), neighbors.indices, labels, searched.gallery)


def _rule(name: str, decision: NeighborDecisionConfig) -> NeighborRule:
    rule = RULES[name]
    asked = {"temperature": decision.temperature} if has_option(rule, "temperature") else {}
    found = named_rule(name, None, **asked)
    if not isinstance(found, NeighborRule):
        raise Mistake(f"expected a decision over neighbors, {', '.join(neighbor_rules())}, but got {name}.")
    return found


def _spread(images: int, limit: int | None) -> Int[Tensor, "query"]:
    """Choose queries at equal distances, because data sets list class after class."""
    count = images if limit is None else min(limit, images)
    return torch.arange(count) * images // count
