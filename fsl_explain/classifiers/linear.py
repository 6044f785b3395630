"""Linear classifiers fitted on the supports: Baseline's logistic regression and Baseline++'s cosine classifier.

Source: Chen et al., "A Closer Look at Few-shot Classification", 2019. Both end in the span of the supports, so
that a class's weight vector is Σ_k α_k q'_k, and its score a weighted sum of similarities to all supports.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, combined, every_valid
from fsl_explain.heads.direction import direction
from fsl_explain.similarities import SIMILARITIES, Similarity, traits_of
from fsl_explain.similarities.traits import Transform

INTERCEPTS = "intercepts of the classifier"


@dataclass(frozen=True)
class Fitted:
    """Class scores f(z')·w_c + b_c, where the similarity is the inner product of two f."""

    vectors: Float[Tensor, "*batch way channel"]  # w
    intercepts: Float[Tensor, "*batch way"]  # b

    def span(self, samples: Float[Tensor, "*batch sample channel"]) -> Float[Tensor, "*batch way sample"]:
        """Return α with w_c = Σ_k α_ck sample_k, the smallest such."""
        inverse = torch.linalg.pinv(samples)
        found: Tensor = self.vectors @ inverse
        # once more for what is left: the inverse is inexact where supports nearly coincide
        refined: Tensor = found + (self.vectors - found @ samples) @ inverse
        return refined


@runtime_checkable
class Fit(Protocol):
    """How the classifier of one episode is fitted."""

    def __call__(
        self, samples: Float[Tensor, "sample channel"], labels: Tensor, way: int
    ) -> tuple[Float[Tensor, "way channel"], Float[Tensor, "way"]]:
        """Return weight vectors and intercepts."""
        ...


@dataclass(frozen=True)
class LogisticRegression:
    """Multinomial logistic regression with an L2 penalty, fitted on the supports at each call.

    Its inputs are the embeddings with ``similarity="inner-product"``, and with the cosine their directions. The larger
    ``inverse_penalty``, C of scikit-learn, the less the weights are held near 0; infinity: not at all.

    Raises: ``ValueError`` for an ``inverse_penalty`` that is not above 0.
    """

    is_linear_in_embeddings: ClassVar[bool] = True
    inverse_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not self.inverse_penalty > 0:
            raise Mistake(
                f"a logistic regression needs an inverse_penalty above 0, but got {self.inverse_penalty}; 1 is usual."
            )

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the logit of each class, of any sign, minus infinity for a class without supports.

        Raises: ``ValueError`` for a similarity that is no product, or supports of one class alone.
        """
        return logits_of(query, supports, similarity, self.fit)

    decision_scores = class_scores

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh every support of every class by its coefficient; the intercepts are a constant."""
        return _weights(class_weights, query, supports, similarity, self.fit)

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark all supports that are no padding."""
        return every_valid(query, supports, similarity)

    def fit(
        self, samples: Float[Tensor, "sample channel"], labels: Int[Tensor, "sample"], way: int
    ) -> tuple[Float[Tensor, "way channel"], Float[Tensor, "way"]]:
        """Return weight vectors and intercepts; ``labels`` are from 0 to ``way`` - 1, each of them there."""
        fitted = SklearnLogisticRegression(C=self.inverse_penalty, max_iter=1000)
        fitted.fit(samples.cpu().numpy(), labels.cpu().numpy())
        vectors = torch.from_numpy(fitted.coef_).to(samples)
        intercepts = torch.from_numpy(fitted.intercept_).to(samples)
        if way == 2:  # scikit-learn returns the difference of the two logits
            vectors, intercepts = torch.cat([-vectors, vectors]) / 2, torch.cat([-intercepts, intercepts]) / 2
        return vectors, intercepts


@dataclass(frozen=True, kw_only=True)
class CosineClassifier:
    """Baseline++: class scores scale · cos(z', w_c), w fitted by gradient descent on the cross-entropy.

    ``steps`` of gradient descent with momentum 0.9 and ``learning_rate`` are done at each call; 0 leave w at the means.
    DEVIATION: w starts at the class means instead of random values, so that the result is the same on
    every run and lies in the span of the supports.

    Raises: ``ValueError`` for a scale or a learning rate that is not finite and above 0, or steps below 0.
    """

    is_linear_in_embeddings: ClassVar[bool] = True
    scale: float = 10.0
    steps: int = 100
    learning_rate: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("learning_rate", self.learning_rate)):
            if not (math.isfinite(value) and value > 0):
                raise Mistake(f"a cosine classifier needs a finite {name} above 0, but got {value}.")
        if self.steps < 0:
            raise Mistake(f"a cosine classifier needs 0 steps or more, but got {self.steps}; 100 is usual.")

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the scaled cosine to each class's weight vector, from -scale to scale.

        A class without supports scores minus infinity. Raises: ``ValueError`` for a similarity other than the cosine,
        or supports of one class alone.
        """
        return logits_of(query, supports, self._checked(similarity), self.fit)

    decision_scores = class_scores

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh every support by its coefficient in the weight vectors."""
        return _weights(class_weights, query, supports, self._checked(similarity), self.fit)

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark all supports that are no padding."""
        return every_valid(query, supports, similarity)

    def _checked(self, similarity: Similarity) -> Similarity:
        if not traits_of(similarity).divides_by_norm:
            raise Mistake("expected similarity='cosine' with a cosine classifier, but got another; use cosine.")
        return similarity

    def fit(
        self, samples: Float[Tensor, "sample channel"], labels: Int[Tensor, "sample"], way: int
    ) -> tuple[Float[Tensor, "way channel"], Float[Tensor, "way"]]:
        """Return weight vectors, of length ``scale``, and intercepts of 0, of samples of norm 1.

        ``labels`` are from 0 to ``way`` - 1, each of them there.
        """
        with torch.inference_mode(False), torch.enable_grad():
            samples, labels = samples.clone(), labels.clone()  # a clone made here has gradients in inference mode, too
            members = F.one_hot(labels, way).to(samples).T
            vectors = (members @ samples / members.sum(dim=-1, keepdim=True)).requires_grad_()
            descent = torch.optim.SGD([vectors], self.learning_rate, momentum=0.9)
            for _ in range(self.steps):
                loss = F.cross_entropy(self.scale * samples @ direction(vectors).T, labels)
                (vectors.grad,) = torch.autograd.grad(loss, vectors)
                descent.step()
        fitted = direction(vectors.detach())
        return self.scale * fitted, samples.new_zeros(way)


LOGISTIC_REGRESSION, COSINE_CLASSIFIER = LogisticRegression(), CosineClassifier()


def logits_of(query: Tensor, supports: SupportSet, similarity: Similarity, fit: Fit) -> Tensor:
    """Return f(z')·w_c + b_c for a classifier fitted on the supports."""
    fitted, _ = fitted_classes(supports, similarity, fit)
    inputs = inputs_of(similarity)(query)
    return (fitted.vectors @ inputs[..., None]).squeeze(-1) + fitted.intercepts


def _weights(class_weights: Tensor, query: Tensor, supports: SupportSet, similarity: Similarity, fit: Fit) -> Weights:
    fitted, samples = fitted_classes(supports, similarity, fit)
    found = (class_weights[..., None, :] @ fitted.span(samples)).squeeze(-2)
    on_supports = found.unflatten(-1, supports.embeddings.shape[-3:-1]).masked_fill(~supports.valid, 0)
    intercepts = combined(class_weights, fitted.intercepts)
    return Weights(on_supports, {INTERCEPTS: intercepts.expand(query.shape[:-1])})


def fitted_classes(supports: SupportSet, similarity: Similarity, fit: Fit) -> tuple[Fitted, Tensor]:
    """Fit a classifier for each set of supports; also return the samples, those of padding zero."""
    embeddings, valid = supports.embeddings, supports.valid
    way, shot = valid.shape[-2:]
    leading = torch.broadcast_shapes(embeddings.shape[:-3], valid.shape[:-2])
    samples = inputs_of(similarity)(embeddings)
    samples = samples.masked_fill(~valid[..., None], 0).flatten(start_dim=-3, end_dim=-2)
    labels = torch.arange(way, device=valid.device).repeat_interleave(shot)
    real = valid.flatten(start_dim=-2).expand(*leading, -1).reshape(-1, way * shot)
    every = samples.expand(*leading, *samples.shape[-2:]).reshape(-1, *samples.shape[-2:])
    fits: list[tuple[Tensor, Tensor]] = []
    for i, (one, mask) in enumerate(zip(every, real, strict=True)):
        repeated = i > 0 and torch.equal(one, every[i - 1]) and torch.equal(mask, real[i - 1])
        fits.append(fits[-1] if repeated else _fit_classes(one[mask], labels[mask], way, fit))
    vectors = torch.stack([vectors for vectors, _ in fits]).reshape(*leading, way, -1)
    intercepts = torch.stack([intercepts for _, intercepts in fits]).reshape(*leading, way)
    return Fitted(vectors, intercepts), samples


def inputs_of(similarity: Similarity) -> Transform:
    """Return what of an embedding a linear classifier takes: the f of whose values the similarity is the product."""
    found = traits_of(similarity).inner_product_of
    if found is None:
        taken = [repr(name) for name, known in SIMILARITIES.items() if traits_of(known).inner_product_of is not None]
        raise Mistake(f"a linear classifier takes similarity={' or '.join(taken)}; use one of them.")
    return found


def _fit_classes(samples: Tensor, labels: Tensor, way: int, fit: Fit) -> tuple[Tensor, Tensor]:
    """Fit on the classes that have samples; a class without any scores minus infinity."""
    if way < 2:
        raise Mistake("a linear classifier needs supports of at least two classes, but got one class; add another.")
    present = labels.unique()
    vectors, intercepts = samples.new_zeros(way, samples.shape[-1]), samples.new_full((way,), -torch.inf)
    if len(present) == 1:  # the only one left by a support audit
        return vectors, intercepts.index_fill(0, present, 0)
    position = torch.searchsorted(present, labels)
    vectors[present], intercepts[present] = fit(samples, position, len(present))
    return vectors, intercepts
