"""The maps of the same images under several models: of decisions that all of them get right, or all get wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes import EpisodeSampler, LabeledImages
from episodes.errors import Mistake
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet, decide
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.grid_choice import GridDecision, Shown
from fsl_explain.evaluation.image_store import ImageStore, embed_in_pieces, embed_unique
from fsl_explain.evaluation.masked_queries import check_batch_size
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import Compared
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.scales import compared_at
from fsl_explain.similarities import SIMILARITIES, Similarity

ROWS_AT_ONCE = 65536  # of a gallery that is searched


@dataclass(frozen=True)
class ShownMap:
    """One image as one model sees it, and why it gave it a class, or would have given it another one."""

    image: Float[Tensor, "3 height width"]  # RGB in [0, 1]
    saliency: Float[Tensor, "height width"]
    explained: str  # the class whose score is explained
    box: Float[Tensor, "4"]  # NaN without annotation


USUAL, FIRST = GridDecision(), Shown()


@dataclass(frozen=True)
class MapGrid:
    """A row of maps for each model; with wrong decisions two, of the predicted and of the true class."""

    titles: tuple[str, ...]
    truths: tuple[str, ...]  # of the columns
    rows: tuple[tuple[ShownMap, ...], ...]
    signed: bool


@dataclass(frozen=True)
class _Asked:
    """One decision to be made: an image, and the images and classes it is compared with."""

    image: int
    classes: tuple[int, ...]
    supports: Int[np.ndarray, "way shot"] | None  # None: the neighbors of a gallery


def map_grid(
    encoders: Mapping[str, Encoder] | Sequence[tuple[str, Encoder]],
    dataset: LabeledImages,
    gallery: LabeledImages | None = None,
    *,
    decision: GridDecision = USUAL,
    shown: Shown = FIRST,
    sampler: EpisodeSampler | None = None,
    batch_size: int = 16,
) -> MapGrid:
    """Decide the same questions with every encoder, choose what all get right (or wrong), and explain it.

    ``encoders`` stand by the titles of their rows. ``sampler`` draws the episodes; ``gallery`` is searched where
    ``decision`` says so, None: the other images of ``dataset``.

    Raises: ``ValueError`` where no decision is right (or wrong) under every model.
    """
    check_batch_size(batch_size)
    named = list(encoders.items() if isinstance(encoders, Mapping) else encoders)
    if not named:
        raise Mistake("expected at least one encoder for the figure, but got none; each is a row.")
    asked = _questions(dataset, decision, shown, sampler)
    models = [_Model.of(encoder, dataset, gallery, asked, decision, batch_size) for _, encoder in named]
    predicted = torch.stack([torch.tensor([model.predicted(one) for one in asked]) for model in models])
    truth = torch.from_numpy(dataset.labels[[one.image for one in asked]].astype(np.int64))
    wanted = predicted == truth if shown.decisions == "correct" else predicted != truth
    chosen = _first_of_each_class(wanted.all(dim=0), truth, shown.images)
    rows, titles = [], []
    for model, (name, _), labels in zip(models, named, predicted, strict=True):
        for title, target in _targets(shown, name, labels, truth):
            maps = [model.explain(asked[i], int(target[i]), shown.method) for i in chosen]
            rows.append(tuple(maps))
            titles.append(title)
    truths = tuple(dataset.classes[int(truth[i])] for i in chosen)
    return MapGrid(tuple(titles), truths, tuple(rows), find_method(shown.method).signed)


def _targets(
    shown: Shown, title: str, predicted: Int[Tensor, "asked"], truth: Int[Tensor, "asked"]
) -> list[tuple[str, Int[Tensor, "asked"]]]:
    if shown.decisions == "correct":
        return [(title, predicted)]
    return [(f"{title}, predicted class", predicted), (f"{title}, true class", truth)]


def _questions(
    dataset: LabeledImages, decision: GridDecision, shown: Shown, sampler: EpisodeSampler | None
) -> list[_Asked]:
    """Return the decisions to choose from: of an episode one query of each class, or images of the data set."""
    among = shown.among
    if decision.supports == "gallery":
        order = np.random.default_rng(shown.seed).permutation(len(dataset))[:among]
        return [_Asked(int(image), (), None) for image in order]
    drawing = EpisodeSampler(dataset.labels, class_names=dataset.classes) if sampler is None else sampler
    asked = []
    for episode in drawing.episodes(-(-among // drawing.n_way)):
        classes = tuple(int(label) for label in episode.classes)
        asked += [_Asked(int(query[0]), classes, episode.support) for query in episode.query]
    return asked[:among]


def _first_of_each_class(wanted: Bool[Tensor, "asked"], truth: Int[Tensor, "asked"], images: int) -> list[int]:
    """Choose the first wanted decision of every class, then the second ones, and so on, as many as asked for."""
    seen: dict[int, int] = {}
    ranked = []
    for place in wanted.nonzero()[:, 0].tolist():
        label = int(truth[place])
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], place))
    if not ranked:
        raise Mistake(
            "expected decisions that every model of the figure gets right, or wrong, as [shown] asks, but there is "
            "none among them; raise shown.among, or show fewer models."
        )
    return [place for _, place in sorted(ranked)[:images]]


@dataclass(frozen=True)
class _Gallery:
    """What an image is compared with where no episode brings supports; classes of its own come after the queries'."""

    embeddings: Float[Tensor, "gallery channel"]
    labels: Int[Tensor, "gallery"]
    classes: tuple[str, ...]
    place: Int[Tensor, "dataset"]  # of each image of the data set, -1 if it is not there

    @classmethod
    def of(cls, encoder: Encoder, dataset: LabeledImages, searched: LabeledImages, batch_size: int) -> "_Gallery":
        classes = tuple(dict.fromkeys((*dataset.classes, *searched.classes)))
        number = torch.tensor([classes.index(name) for name in searched.classes])
        embeddings = embed_in_pieces(encoder, searched, range(len(searched)), batch_size, lambda _: None)
        labels = number[torch.from_numpy(searched.labels.astype(np.int64))]
        return cls(embeddings, labels, classes, _own_places(dataset, searched))

    def nearest(
        self, queries: Float[Tensor, "query channel"], own: Int[Tensor, "query"], similarity: Similarity, k: int
    ) -> tuple[Int[Tensor, "_k"], ...]:
        """Return the k nearest rows of each query but its own, nearest first, ties by row; block by block."""
        best = torch.empty(len(queries), 0, dtype=torch.long)
        values = queries.new_empty(len(queries), 0)
        for part in slices(len(self.embeddings), ROWS_AT_ONCE):
            block = self.embeddings[part].double()
            rows = torch.arange(part.start, part.stop).expand(len(queries), -1)
            scores = similarity.pairwise(queries, block).masked_fill(rows == own[:, None], -torch.inf)
            values, rows = torch.cat([values, scores], dim=1), torch.cat([best, rows], dim=1)
            values, order = values.sort(dim=1, descending=True, stable=True)
            values, best = values[:, :k], rows.gather(1, order)[:, :k]
        return tuple(found[found != itself] for found, itself in zip(best, own, strict=True))


@dataclass(frozen=True)
class _Model:
    """An encoder, and the embeddings of everything it is asked about."""

    encoder: Encoder
    dataset: LabeledImages
    store: ImageStore
    gallery: _Gallery | None
    nearest: dict[int, Int[Tensor, "_k"]]  # of each image that is asked about, where there is a gallery
    decision: GridDecision

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        dataset: LabeledImages,
        gallery: LabeledImages | None,
        asked: Sequence[_Asked],
        decision: GridDecision,
        size: int,
    ) -> "_Model":
        needed = {one.image for one in asked}
        if decision.supports == "episode":
            needed |= {int(i) for one in asked if one.supports is not None for i in one.supports.flat}
        store = embed_unique(encoder, dataset, sorted(needed), size, lambda _: None)
        if decision.supports != "gallery":
            return cls(encoder, dataset, store, None, {}, decision)
        found, images = _Gallery.of(encoder, dataset, gallery or dataset, size), [one.image for one in asked]
        embeddings = store.embeddings[store.row_of[images]].double()
        nearest = found.nearest(embeddings, found.place[images], _similarity(encoder, decision), decision.k)
        return cls(encoder, dataset, store, found, dict(zip(images, nearest, strict=True)), decision)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all labels."""
        return self.dataset.classes if self.gallery is None else self.gallery.classes

    def predicted(self, asked: _Asked) -> int:
        """Return the label that the model gives the image."""
        supports, labels = self._supports(asked)
        embedding = self.store.embeddings[self.store.row_of[[asked.image]]].double()
        similarity = _similarity(self.encoder, self.decision)
        scores = self.decision.named.decision_scores(embedding, supports, similarity)[0]
        return labels[int(decide(scores, supports.classes).label)]

    def explain(self, asked: _Asked, target: int, method: str | Method) -> ShownMap:
        """Explain the score of a class; the map of a class without a vote is empty."""
        supports, labels = self._supports(asked)
        row = self.store.row_of[[asked.image]]
        pixels = self.store.images(row)
        compared = Compared(self.encoder, pixels, self.store.features(row), supports, None)
        box, name = self.store.boxes[row[0]], self.classes[target]
        alone = len(labels) == 1 and find_method(method).has_rivals
        if alone or target not in labels:
            why = "no rival" if alone else "no vote"
            return ShownMap(compared.visible_queries[0], torch.zeros(pixels.shape[-2:]), f"{name} ({why})", box)
        choice = Choice(self.decision.named, self.decision.similarity, labels.index(target))
        found = explain_compared(compared, method, choice)[0]
        return ShownMap(compared.visible_queries[0], found.saliency, name, box)

    def _supports(self, asked: _Asked) -> tuple[SupportSet, list[int]]:
        """Return what the image is compared with, and the label of each of its classes."""
        if asked.supports is not None:
            rows = self.store.row_of[torch.from_numpy(asked.supports)]
            names = tuple(self.classes[label] for label in asked.classes)
            features = self.store.features(rows.flatten()).unflatten(*rows.shape)
            valid = torch.ones(rows.shape, dtype=torch.bool)
            return SupportSet(features.embedding, valid, names, features), list(asked.classes)
        return self._neighbors(self.nearest[asked.image], cast("_Gallery", self.gallery))

    def _neighbors(self, nearest: Int[Tensor, "k"], gallery: _Gallery) -> tuple[SupportSet, list[int]]:
        """Group the nearest images of the gallery by their class."""
        labels = sorted(set(gallery.labels[nearest].tolist()))
        groups = [nearest[gallery.labels[nearest] == label] for label in labels]
        index = torch.nn.utils.rnn.pad_sequence(groups, batch_first=True, padding_value=-1)
        supports = gallery.embeddings[index.clamp(min=0)].double()
        return SupportSet(supports, index >= 0, tuple(gallery.classes[label] for label in labels)), labels


def _similarity(encoder: Encoder, decision: GridDecision) -> Similarity:
    return compared_at(encoder.scales, SIMILARITIES[decision.similarity])


def _own_places(dataset: LabeledImages, gallery: LabeledImages) -> Int[Tensor, "dataset"]:
    if gallery is dataset:
        return torch.arange(len(dataset))
    place = {path.resolve(): row for row, path in enumerate(gallery.paths) if path is not None}
    return torch.tensor([-1 if path is None else place.get(path.resolve(), -1) for path in dataset.paths])
