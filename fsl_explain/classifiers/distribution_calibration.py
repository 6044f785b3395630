"""Distribution calibration: a logistic regression on supports and on samples of Gaussians that base classes lend.

Source: Yang, Liu and Xu, "Free Lunch for Few-shot Learning: Distribution Calibration", 2021, and its published code.
Notation: each support has a Gaussian of its own; its mean is that of the support and of the k nearest base classes'
means, its covariance the mean of theirs plus α in every entry.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, combined, every_valid
from fsl_explain.classifiers.linear import INTERCEPTS, LogisticRegression, fitted_classes, logits_of
from fsl_explain.similarities import Similarity, traits_of
from fsl_explain.similarities.traits import unchanged

SAMPLES = "samples of the calibrated distributions"


@dataclass(frozen=True, eq=False)
class DistributionCalibration:
    """Scores each class by its logit w_c·z' + b_c; ``similarity="inner-product"``.

    ``DistributionCalibration.fit`` takes the base classes' embeddings, and keeps their ``means`` and ``covariances``.
    The paper transforms those of an episode, by a head ``fsl_explain.heads.Power(0.5)``, and its code takes the base
    classes' as they are. ``k`` base classes lend to each support; ``alpha`` is added to every entry of their mean
    covariance; ``samples`` are divided among the supports of a class; ``inverse_penalty`` is as of
    ``LogisticRegression``. Fitted weights are frozen when a decision is explained: their part in the span of the
    supports weighs these, and the rest is a line of its own.
    DEVIATION: samples are drawn from ``seed`` for each support alone, so that a decision is the same on every run.

    Raises: ``ValueError`` for a k that is not from 1 to the number of base classes, samples or a seed below 0, an
    ``inverse_penalty`` that is not above 0, or other numbers that are not finite.
    """

    means: Float[Tensor, "base channel"]
    covariances: Float[Tensor, "base channel channel"]
    k: int = 2
    alpha: float = 0.21
    samples: int = 750
    inverse_penalty: float = 1.0
    seed: int = 0

    is_linear_in_embeddings = True

    def __post_init__(self) -> None:
        if not 1 <= self.k <= len(self.means):
            raise Mistake(f"expected k from 1 to the {len(self.means)} base classes, but got {self.k}.")
        if self.samples < 0 or self.seed < 0 or not math.isfinite(self.alpha):
            raise Mistake(
                "distribution calibration needs a finite alpha, and samples and a seed of at least 0, but got "
                f"{self.alpha}, {self.samples} and {self.seed}."
            )
        if not bool(self.means.isfinite().all() and self.covariances.isfinite().all()):
            raise Mistake("expected finite embeddings of the base classes, but got some that are not; leave them out.")
        LogisticRegression(self.inverse_penalty)  # which refuses one that cannot be

    @classmethod
    def fit(
        cls,
        embeddings: Float[Tensor, "image channel"],
        labels: Int[Tensor, "image"],
        *,
        k: int = 2,
        alpha: float = 0.21,
        samples: int = 750,
        inverse_penalty: float = 1.0,
        seed: int = 0,
    ) -> "DistributionCalibration":
        """Take mean and covariance of each base class; ``labels`` say which class each image is of.

        The other arguments are as the class says.

        Raises: ``ValueError`` for a class of fewer than two images, no class, another number of labels than of
        embeddings, and as the class itself.
        """
        if len(labels) != len(embeddings) or not len(labels):
            raise Mistake(
                f"expected a label for each embedding of base classes, but got {len(embeddings)} embeddings and "
                f"{len(labels)} labels; give as many."
            )
        groups = [embeddings[labels == label].double() for label in labels.unique()]
        if any(len(group) < 2 for group in groups):
            raise Mistake("a covariance needs at least two images of each base class; leave the others out.")
        means = torch.stack([group.mean(dim=0) for group in groups])
        covariances = torch.stack([torch.cov(group.T).reshape(2 * group.shape[1:]) for group in groups])
        return cls(means, covariances, k, alpha, samples, inverse_penalty, seed)

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the logit of each class, of any sign, minus infinity for a class without supports.

        Raises: ``ValueError`` for a similarity other than the inner product, supports of one class alone, or embeddings
        of other channels than the base classes'.
        """
        return logits_of(query, supports, _checked(similarity), self._fit)

    decision_scores = class_scores

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Weigh supports by their coefficients in the weight vectors; what these hold beside is a slope."""
        fitted, rows = fitted_classes(supports, _checked(similarity), self._fit)
        coefficients = fitted.span(rows)
        beside = fitted.vectors - coefficients @ rows
        on_supports = (class_weights[..., None, :] @ coefficients).squeeze(-2)
        slope = (class_weights[..., None, :] @ beside).squeeze(-2)
        return Weights(
            on_supports.unflatten(-1, supports.embeddings.shape[-3:-1]).masked_fill(~supports.valid, 0),
            {INTERCEPTS: combined(class_weights, fitted.intercepts).expand(query.shape[:-1])},
            {SAMPLES: slope.expand(*query.shape[:-1], slope.shape[-1])},
        )

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark all supports that are no padding."""
        return every_valid(query, supports, similarity)

    def _fit(self, samples: Tensor, labels: Tensor, way: int) -> tuple[Tensor, Tensor]:
        rows, classes = [samples], [labels]
        for label in range(way):
            own = samples[labels == label]
            for shot, support in enumerate(own):
                rows.append(self.drawn(support, self.samples // len(own), (self.seed, label, shot)))
                classes.append(labels.new_full((len(rows[-1]),), label))
        return LogisticRegression(self.inverse_penalty).fit(torch.cat(rows), torch.cat(classes), way)

    def drawn(
        self, support: Float[Tensor, "channel"], count: int, seed: tuple[int, ...]
    ) -> Float[Tensor, "sample channel"]:
        """Draw ``count`` samples of the calibrated distribution of a support (Yang et al., Eqs. 6 and 7).

        One ``seed`` gives the same samples. Raises: ``ValueError`` for other channels than the base classes'.
        """
        if support.shape[-1] != self.means.shape[-1]:
            raise Mistake(
                f"expected embeddings of {self.means.shape[-1]} channels, as the base classes have, but got "
                f"{support.shape[-1]}; fit on embeddings of the same encoder."
            )
        means, covariances = (one.to(support) for one in (self.means, self.covariances))
        near = (means - support).norm(dim=-1).argsort(stable=True)[: self.k]
        mean = torch.cat([means[near], support[None]]).mean(dim=0).cpu().numpy()
        covariance = (covariances[near].mean(dim=0) + self.alpha).cpu().numpy()
        generator = np.random.default_rng(seed)
        found = generator.multivariate_normal(mean, covariance, size=count, check_valid="ignore")
        return torch.from_numpy(found).to(support)


def _checked(similarity: Similarity) -> Similarity:
    if traits_of(similarity).inner_product_of is not unchanged:
        raise Mistake("distribution calibration takes similarity='inner-product', but got another; use that.")
    return similarity
