"""Integrated contributions, for what has no exact form: a network's own tail, or a learned similarity.

Δ(A) = Σ_k w_k S(embedding(A), q_k) + constants, with the decision's weights w_k frozen. Where the similarity is
bilinear but for norms, as the cosine is, its norms are frozen too: S is then the form that it has at the pair's own
embeddings. The cosine itself would jump at zero maps, and behind the jump its derivative adds up to nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.encoder import Features
from fsl_explain.explainers.method import Attribution, SupportAttribution
from fsl_explain.explainers.methods.straight_path import Integrated, StraightPath, integrate
from fsl_explain.explainers.question import Question, expect_no_slope
from fsl_explain.explainers.tails import Tail
from fsl_explain.similarities import AnyForm, has_form

AT_ZERO = "Δ(0)"
"""The score of a query whose maps are zero: what no cell holds."""


@dataclass(frozen=True)
class _Asked:
    """One query of a batch, with what is frozen: the weights of its supports and the constants."""

    question: Question
    tail: Tail
    weights: Float[Tensor, "way shot"]
    constant: Float[Tensor, ""]

    @property
    def chosen(self) -> Bool[Tensor, "way shot"]:
        """The supports with a say."""
        return self.weights != 0

    def frozen(self, supports: Float[Tensor, "support embedding"]) -> AnyForm | None:
        """Return the form of the similarity to supports, each a class of its own, or None where there is none."""
        similarity, query = self.question.similarity, self.question.query.embedding
        return similarity.form(query[None, None], supports[:, None]) if has_form(similarity) else None

    def similarities(
        self, queries: Float[Tensor, "node embedding"], supports: Float[Tensor, "support embedding"]
    ) -> Float[Tensor, "node support"]:
        """Return the similarity to supports of what stands in the place of the query."""
        form = self.frozen(supports)
        if form is None or form.moves_with_query:
            return self.question.similarity.pairwise(queries, supports)
        references, beside = form.on_query(supports[:, None]), form.along_support(supports[:, None])
        return queries @ _flat(references, supports).mT + _flat(beside, supports[:, 0])

    def on_query(self) -> StraightPath:
        """Return the path of the query."""
        images = None if self.question.pixels is None else self.question.pixels.images[None].clone()
        supports, weights = self._references()

        def score(embeddings: Float[Tensor, "node 1 embedding"]) -> Float[Tensor, "node"]:
            return self.similarities(embeddings[:, 0], supports.clone()) @ weights.clone() + self.constant

        return StraightPath(self.question.query.maps[None], images, self.tail, score)

    def _references(self) -> tuple[Float[Tensor, "support embedding"], Float[Tensor, "support"]]:
        """Return what the query is compared with, each thing once, and its weights."""
        embeddings, weights = self.question.compared.embeddings, self.weights
        if self.question.compares_classes:
            embeddings, weights = embeddings[:, :1], weights.sum(dim=-1, keepdim=True)
        return embeddings[weights != 0], weights[weights != 0]

    def on_supports(self, which: Bool[Tensor, "way shot"]) -> tuple[StraightPath, Tensor]:
        """Return the path of supports that are compared as one, and their part Σ w_k S_k of the score."""
        question, weights = self.question, self.weights[which]
        features = _with_maps(question)[which]
        pixels = None if question.pixels is None else question.pixels.supports
        images = None if pixels is None else pixels[which]
        query, form = question.query.embedding[None], self.frozen(question.compared.embeddings[which])

        def score(embeddings: Float[Tensor, "node image embedding"]) -> Float[Tensor, "node"]:
            if form is not None and not form.moves_with_support:
                references, beside = form.on_support(query[None]), form.along_query(query[None])
                products = (embeddings * _flat(references, embeddings[0])).sum(dim=-1)
                return (products + _flat(beside, embeddings[0, :, 0])) @ weights.clone()
            together = embeddings.mean(dim=1)
            return question.similarity.pairwise(query.clone(), together)[0] * weights.sum()

        path = StraightPath(features.maps, images, self.tail, score)
        with torch.no_grad():
            return path, score(features.embedding[None])[0]


def attribute(question: Question) -> Attribution:
    """Split the score into one addend per query channel, or per query cell, and Δ(0), by integration.

    ``steps`` says how fine that was. Raises: ``ValueError`` where the network would have to see images that were not
    kept.
    """
    found = [integrate(asked.on_query(), asked.question.explained.value) for asked in _asked(question)]
    addends, at_zero = _stacked(question, [one.addends[0] for one in found]), [one.at_zero for one in found]
    bias = _stacked(question, at_zero)
    return Attribution(
        contributions=addends.sum(dim=(-2, -1)),
        cells=_drawn(question.query, addends).to(question.query.maps.dtype),
        bias=bias,
        named={AT_ZERO: bias},
        steps=_stacked(question, [torch.tensor(one.steps) for one in found]),
    )


def attribute_supports(question: Question) -> SupportAttribution:
    """Split the same score over the cells of every support, each on a path of its own.

    Supports that are compared as one, as those of a class of a Relation Network, are on one path.
    """
    features = _with_maps(question)
    cells, biases = [], []
    for asked in _asked(question):
        grid = features.maps.shape[-2:] if features.finer is None else features.finer.grid
        found = features.maps.new_zeros(*asked.weights.shape, *grid)
        bias = asked.constant
        for which in _groups(asked):
            part: Integrated = integrate(*asked.on_supports(which))
            found[which] = _drawn(features[which], part.addends).to(found)
            bias = bias + part.at_zero
        cells.append(found)
        biases.append(bias)
    return SupportAttribution(cells=_stacked(question, cells), bias=_stacked(question, biases))


def support_addends(
    question: Question,
) -> tuple[Float[Tensor, "*batch way shot"], Float[Tensor, "*batch way shot"]]:
    """Split each support's w_k S_k into what the query's cells hold, and what is left where its maps are zero."""
    held, beside = [], []
    for asked in _asked(question):
        path, supports = asked.on_query(), asked.question.compared.embeddings[asked.chosen]
        at_zero, similarities = torch.zeros_like(asked.weights), torch.zeros_like(asked.weights)
        with torch.no_grad():
            at_zero[asked.chosen] = asked.similarities(path.at_zero(), supports)[0]
            similarities[asked.chosen] = asked.similarities(asked.question.query.embedding[None], supports)[0]
        held.append(asked.weights * (similarities - at_zero))
        beside.append(asked.weights * at_zero)
    return _stacked(question, held), _stacked(question, beside)


def _drawn(features: Features, addends: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "*batch _h _w"]:
    """Sum addends over channels, on the finest grid that there is."""
    if features.finer is None:
        return addends.sum(dim=-3)
    if features.finer.is_apart:
        raise Mistake(
            "biases='apart' needs embeddings that are sums over cells, but what lies behind these maps is integrated; "
            "use biases='drawn'."
        )
    return features.finer.drawn(addends, addends.new_ones(addends.shape[-3], 1, 1)).cells


def _asked(question: Question) -> Iterator[_Asked]:
    tail, weights, constant = question.tail, question.weights.supports, question.constant
    if tail is None:
        raise Mistake("expected a question that is answered by integration, but this one has an exact form.")
    expect_no_slope(question, "tail='network'")
    if question.target.dim() == 0:
        yield _Asked(question, tail, weights, constant)
        return
    for i in range(len(question.target)):
        yield _Asked(question[i], tail, weights[i], constant[i])


def _groups(asked: _Asked) -> Iterator[Bool[Tensor, "way shot"]]:
    """Yield the supports with a say, one by one, or class by class where a class is compared as one."""
    places = asked.chosen.nonzero().tolist()
    if not asked.question.compares_classes:
        for way, shot in places:
            which = torch.zeros_like(asked.chosen)
            which[way, shot] = True
            yield which
        return
    for way in sorted({way for way, _ in places}):
        which = torch.zeros_like(asked.chosen)
        which[way] = asked.chosen[way]
        yield which


def _flat(of_pairs: Tensor, like: Tensor) -> Tensor:
    """Return what a form gives for supports in classes of one, where what is the same for all may stand once."""
    return of_pairs.expand(len(like), 1, *like.shape[1:]).reshape(like.shape)


def _stacked(question: Question, parts: list[Tensor]) -> Tensor:
    return parts[0] if question.target.dim() == 0 else torch.stack(parts)


def _with_maps(question: Question) -> Features:
    features = question.supports.features
    if features is None:
        raise Mistake("the support side needs the supports' activation maps, but only embeddings were kept.")
    return features
