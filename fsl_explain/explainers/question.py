"""What an explainer is asked: one decision per query, and the combination of class scores to explain."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import Rule, SupportSet, Weights, compared_with, form_of, has_own_form, similarities_to
from fsl_explain.devices import precise
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.explained_score import ExplainedScore
from fsl_explain.explainers.tails import Tail
from fsl_explain.finer import OWN_BIASES
from fsl_explain.heads import Pooling
from fsl_explain.heads.finer_at_scales import FinerAtScales
from fsl_explain.readouts.cells import NoPooling, flattens
from fsl_explain.similarities import AnyForm, Similarity, effective_reference
from fsl_explain.traces import Along


@dataclass(frozen=True)
class Pixels:
    """The queries' preprocessed images and the encoder that embeds them, for methods that change the image."""

    encoder: Encoder
    images: Float[Tensor, "*batch color height width"]
    supports: Float[Tensor, "way shot color _height _width"] | None = None  # where images of them were given


@dataclass(frozen=True)
class Question:
    """One decision per query: its features, its supports, and the combination of class scores to explain.

    Embeddings and pooled values are in float64 whatever the network's dtype: a contrast is a small
    difference of large similarities, and its receipt has to survive that.
    """

    query: Features  # leading dimensions: *batch
    supports: SupportSet  # the same leading dimensions, or none: shared by all queries
    explained: ExplainedScore
    ranking: Float[Tensor, "*batch way"]  # what the decision is the largest of
    target: Int[Tensor, "*batch"]
    rule: Rule
    similarity: Similarity
    pooling: Pooling
    head: torch.nn.Module
    pixels: Pixels | None = None  # None where only features were kept
    tail: Tail | None = None  # from maps to embeddings, where these have no exact addends; None: they have

    @cached_property
    def weights(self) -> Weights:
        """The weight of each support's similarity in the explained score, and the rule's constants."""
        weigh = self.rule.weights
        return weigh(self.explained.class_weights, self.query.embedding, self.supports, self.similarity)

    @property
    def compares_classes(self) -> bool:
        """Whether the supports of a class are compared as one, by a similarity that is not linear in them."""
        return self.compared is not self.supports

    @cached_property
    def compared(self) -> SupportSet:
        """What the query is compared with in the place of each support: itself, or all of its class as one."""
        return compared_with(self.rule, self.supports, self.similarity)

    @cached_property
    def form(self) -> AnyForm:
        """The similarity to each support, or to what is compared in its place, as linear in either side."""
        return form_of(self.rule, self.query.embedding, self.supports, self.similarity)

    @cached_property
    def similarities(self) -> Float[Tensor, "*batch way shot"]:
        """The similarity S_k to each support, or to what is compared in its place."""
        if has_own_form(self.rule):
            return self.form.value(self.query.embedding[..., None, None, :], self.supports.embeddings)
        return similarities_to(self.rule, self.query.embedding, self.supports, self.similarity)

    def by_channel(self, values: Float[Tensor, "*batch pooled"]) -> Float[Tensor, "*batch channel"]:
        """Sum what the query's pooled values hold to channels, where a pooling makes several of one channel's map."""
        fold = getattr(self.pooling, "by_channel", None)
        if fold is None or self.query.trace is not None:
            return values
        found: Tensor = fold(values, self.query.maps)
        return found

    @property
    def undefined(self) -> Float[Tensor, "*batch channel"]:
        """NaN for every channel of the maps, for methods that do not split the score."""
        return self.query.pooled.new_full(self.query.maps.shape[:-2], float("nan"))

    @property
    def shows_supports(self) -> bool:
        """Whether the support side can be explained: their maps are there, and their images where those are asked."""
        needs = self.tail is not None and self.tail.needs_images
        images = None if self.pixels is None else self.pixels.supports
        return self.supports.features is not None and not (needs and images is None)

    @property
    def constants(self) -> dict[str, Float[Tensor, "*batch"]]:
        """What no similarity holds, each by what it stands for, slopes at the query's embedding among them."""
        return {**self.weights.constants, **self._along_slopes, **self.explained.constants}

    @property
    def constant(self) -> Float[Tensor, "*batch"]:
        """The sum of the constants."""
        return sum(self.constants.values(), torch.zeros_like(self.explained.value))

    @property
    def fixed(self) -> Float[Tensor, "*batch"]:
        """The constants that do not follow the query's embedding: those without the slopes."""
        found = (*self.weights.constants.values(), *self.explained.constants.values())
        return sum(found, torch.zeros_like(self.explained.value))

    @property
    def reference(self) -> Float[Tensor, "*batch embedding"]:
        """The effective reference g = Σ_k w_k (M_k q'_k + u_k) + Σ slopes, which the query's embedding is met with."""
        found = effective_reference(self.form, self.weights.supports, self.compared.embeddings)
        return found if self.slope is None else found + self.slope

    @property
    def slope(self) -> Float[Tensor, "*batch channel"] | None:
        """The sum of the vectors that the query's embedding is multiplied with beside the supports."""
        slopes = list(self.weights.slopes.values())
        return sum(slopes[1:], slopes[0]) if slopes else None

    @property
    def _along_slopes(self) -> dict[str, Float[Tensor, "*batch"]]:
        slopes = self.weights.slopes.items()
        return {name: (slope * self.query.embedding).sum(dim=-1) for name, slope in slopes}

    def spread(self, features: Features, weights: Float[Tensor, "*queries channel"]) -> Float[Tensor, "... h w"]:
        """Sum what each cell wrote into the pooled values of images over channels, with one weight a channel."""
        return self.along(features, weights).cells

    def along(self, features: Features, weights: Float[Tensor, "*queries channel"]) -> Along:
        """Return the same with what no cell wrote, each part under its name."""
        if features.trace is None:
            return Along(self.pooling.spread(features.maps, weights), {})
        return features.trace.along(weights)

    def drawn(self, features: Features, weights: Float[Tensor, "*queries pooled"]) -> Along:
        """Return what ``along`` does, the cells on the finest grid that there is."""
        if features.finer is None:
            return self.along(features, weights)
        if isinstance(features.finer, FinerAtScales):
            found = features.finer.spread(weights)
        else:
            shares, weights = self.addends(features), weights.to(features.maps.dtype)
            factors = weights.reshape(*weights.shape[:-1], shares.shape[-3], *self._cells(features))
            found = features.finer.drawn(shares, factors)
        return Along(found.cells, {} if found.apart is None else {OWN_BIASES: precise(found.apart)})

    def addends(self, features: Features) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell and map wrote into the pooled values, each of which one map alone makes.

        Raises: ``ValueError`` for a pooling that makes other values of the maps.
        """
        if features.pooled.shape[-1] == features.maps.shape[-3]:
            return self.pooling.shares(features.maps)
        if not hasattr(self.pooling, "by_channel"):
            raise Mistake(
                f"detail needs pooled values of one map each, but {type(self.pooling).__name__} makes "
                f"{features.pooled.shape[-1]} of {features.maps.shape[-3]} maps; use detail=0."
            )
        return features.maps  # each a pooled value of its own

    def _cells(self, features: Features) -> tuple[int, int]:
        one_each = features.pooled.shape[-1] == features.maps.shape[-3]
        return (1, 1) if one_each else (features.maps.shape[-2], features.maps.shape[-1])

    def holds_apart(self, features: Features) -> bool:
        """Say whether parts of the pooled values are held by no cell that is drawn."""
        return features.trace is not None if features.finer is None else features.finer.is_apart

    def held(self, features: Features) -> Float[Tensor, "*batch pooled"]:
        """Return what the cells that are drawn hold of the pooled values."""
        if features.finer is None and features.trace is not None:
            return features.trace.held.to(features.pooled)
        if features.finer is None or not features.finer.is_apart:
            return features.pooled
        if isinstance(features.finer, FinerAtScales):
            return features.finer.held().to(features.pooled)
        reached = precise(self.addends(features)) * features.finer.reach()
        one_each = self._cells(features) == (1, 1)
        return (reached.sum(dim=(-2, -1)) if one_each else reached.flatten(start_dim=-3)).to(features.pooled)

    def shares(self, features: Features) -> Float[Tensor, "*batch channel h w"]:
        """Return what each cell wrote into the pooled values."""
        return self.pooling.shares(features.maps) if features.trace is None else features.trace.addends()

    def __getitem__(self, index: int | slice) -> "Question":
        """Return the question about one query of a batch, or about some of them."""
        shared = self.supports.embeddings.dim() == 3
        explained = self.explained
        return replace(
            self,
            query=self.query[index],
            supports=self.supports if shared else self.supports[index],
            explained=ExplainedScore(
                explained.value[index],
                explained.class_weights[index],
                {name: value[index] for name, value in explained.constants.items()},
                None if explained.rivals is None else explained.rivals[index],
            ),
            ranking=self.ranking[index],
            target=self.target[index],
            pixels=None if self.pixels is None else replace(self.pixels, images=self.pixels.images[index]),
        )


def expect_addends(question: Question, what: str) -> None:
    """Refuse what needs embeddings that are sums over cells where they are not. Raises: ``ValueError``."""
    if question.tail is not None:
        raise Mistake(
            f"{what} needs embeddings that are sums over cells, but what lies behind these maps has no such form; use "
            "method='exact', 'contrast', 'log-probability' or 'verification', whose addends are integrated."
        )


def expect_no_slope(question: Question, what: str) -> None:
    """Refuse to integrate what a decision meets the query with beside the supports. Raises: ``ValueError``."""
    if question.slope is not None:
        raise Mistake(
            f"{what} integrates similarities to supports, but {type(question.rule).__name__} also weighs the query by "
            "other images; use method='exact' or 'contrast' with an embedding pooled from the maps."
        )


def expect_pooling(pooling: Pooling, method: str) -> None:
    """Refuse a readout that is no pooling of the maps. Raises: ``ValueError``."""
    if isinstance(pooling, NoPooling):
        raise Mistake(
            f"{method} needs an embedding that is pooled from the maps, but this encoder reads it out as "
            f"{pooling.readout!r}; use exact, contrast or a method for tokens, or an encoder with readout='mean'."
        )


def expect_one_value_a_map(question: Question, method: str) -> None:
    """Refuse a pooling that makes another number of values than there are maps, or none. Raises: ``ValueError``."""
    expect_pooling(question.pooling, method)
    expect_values_of_maps(question.rule, question.pooling, method)
    pooled, maps = question.query.pooled.shape[-1], question.query.maps.shape[-3]
    if pooled != maps and question.query.trace is None:
        raise Mistake(
            f"{method} needs one pooled value a map, but {type(question.pooling).__name__} makes {pooled} of {maps} "
            "maps; use method='exact' or 'contrast', or pooling='gap'."
        )


def expect_values_of_maps(rule: Rule, pooling: Pooling, method: str) -> None:
    """Refuse decisions of which it is known before any image that no value is a whole map's. Raises: ``ValueError``."""
    if has_own_form(rule):
        raise Mistake(
            f"{method} needs one pooled value a map, but this rule compares the cells of the maps one by one; use "
            "method='exact' or 'contrast', or a rule that compares embeddings."
        )
    if flattens(pooling):
        raise Mistake(
            f"{method} needs one pooled value a map, but the pooling flatten makes one of each cell; use "
            "method='exact' or 'contrast', or pooling='gap'."
        )
