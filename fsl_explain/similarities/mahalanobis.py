"""Negative squared Mahalanobis distance, -(q - g)ᵀ Σ⁻¹ (q - g), so that larger is more alike."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from sklearn.covariance import LedoitWolf
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.similarities import euclidean
from fsl_explain.similarities.form import Form
from fsl_explain.similarities.traits import Traits


@dataclass(frozen=True)
class Mahalanobis:
    """The similarity of one inverse covariance: minus the square of a distance in standard deviations, at most 0.

    ``precision`` is Σ⁻¹, symmetric and positive definite.

    Raises: ``ValueError`` for a matrix that is not; whatever compares, for embeddings of other channels.
    """

    precision: Float[Tensor, "channel channel"]

    def __post_init__(self) -> None:
        matrix = self.precision
        symmetric = matrix.shape[0] == matrix.shape[-1] and torch.allclose(matrix, matrix.T, rtol=1e-6)
        if not symmetric or torch.linalg.cholesky_ex(matrix.double()).info.item() != 0:
            raise Mistake(
                f"a Mahalanobis distance needs a symmetric positive definite precision matrix, but this one "
                f"of shape {tuple(matrix.shape)} is not; fit one with Mahalanobis.fit(embeddings)."
            )

    @classmethod
    def fit(cls, embeddings: Float[Tensor, "image channel"], labels: Tensor | None = None) -> "Mahalanobis":
        """Estimate the covariance of embeddings with Ledoit-Wolf shrinkage, around class means where labels are given.

        ``labels`` say which class each image is of. Classes of a single image tell nothing about the spread within a
        class; if there are no others, the spread around the common mean is taken.

        Raises: ``ValueError`` for embeddings that do not differ enough to estimate anything or are not finite, and for
        another number of labels.
        """
        if labels is not None and len(labels) != len(embeddings):
            raise Mistake(
                f"expected a label for each of {len(embeddings)} embeddings, but got {len(labels)}; give as many."
            )
        if not bool(torch.isfinite(embeddings).all()):
            raise Mistake("a covariance needs finite embeddings, but got some that are not; leave these images out.")
        values = embeddings.double().cpu()
        deviations = values - values.mean(dim=0)
        if labels is not None:
            groups = [values[labels.cpu() == label] for label in labels.unique().tolist()]
            within = [group - group.mean(dim=0) for group in groups if len(group) > 1]
            deviations = torch.cat(within) if within else deviations
        if len(deviations) < 2 or not bool((deviations != 0).any()):
            raise Mistake("a covariance needs at least two different embeddings, but got fewer; give more supports.")
        estimated = LedoitWolf(assume_centered=True).fit(deviations.numpy())
        if estimated.shrinkage_ < 1e-10:  # all deviations are ±d, so that nothing is known of any other direction
            raise Mistake("a covariance needs embeddings that differ in two directions; give more supports.")
        return cls(torch.from_numpy(estimated.get_precision()).to(embeddings.device))

    @cached_property
    def _whitening(self) -> Float[Tensor, "channel channel"]:
        """The factor L of Σ⁻¹ = L Lᵀ: distances between z'L are Euclidean."""
        with torch.inference_mode(False):  # kept for later calls, which may take gradients
            factor: Tensor = torch.linalg.cholesky(self.precision.clone().double())
        return factor

    def whitened(self, values: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """Return z'L: embeddings whose Euclidean distance is this one."""
        return values @ self._for(values, self._whitening)

    def _for(self, values: Tensor, matrix: Tensor) -> Tensor:
        """Return a matrix in the precision and on the device of embeddings that it goes with."""
        if values.shape[-1] != matrix.shape[0]:
            raise Mistake(
                f"expected embeddings of {matrix.shape[0]} channels, as the Mahalanobis distance was made for, but got "
                f"{values.shape[-1]}; fit it on embeddings of the same encoder."
            )
        return matrix.to(values)

    @property
    def traits(self) -> Traits:
        """The Euclidean distance of whitened embeddings."""
        return Traits(distance_of=self.whitened, is_affine_in_query=True, sums_over_channels=False)

    def pairwise(
        self, query: Float[Tensor, "*#batch query channel"], gallery: Float[Tensor, "*#batch gallery channel"]
    ) -> Float[Tensor, "*batch query gallery"]:
        """Return minus the squared distance, at most 0, of every query to every gallery embedding."""
        return euclidean.pairwise(self.whitened(query), self.whitened(gallery))

    def contributions(
        self,
        query: Float[Tensor, "*pairs channel"],  # noqa: ARG002 - the signature of every similarity
        support: Float[Tensor, "*pairs channel"],  # noqa: ARG002
    ) -> Float[Tensor, "*pairs channel"]:
        """Refuse: with a full covariance each addend belongs to a pair of channels. Raises: ``ValueError``."""
        raise Mistake(
            "fam needs a similarity that is a sum over channels, but a Mahalanobis distance is a sum over pairs of "
            "channels; use method='exact' or 'contrast'."
        )

    def form(self, query: Float[Tensor, "*#pairs channel"], support: Float[Tensor, "*#pairs channel"]) -> Form:
        """Write it as 2 z'ᵀΣ⁻¹q' - z'ᵀΣ⁻¹z' - q'ᵀΣ⁻¹q', with u = -Σ⁻¹z' and v = -Σ⁻¹q' frozen."""
        metric = self._for(query, self.precision)
        plain = euclidean.form(query, support)
        return Form(plain.scale, metric, query_slope=-query @ metric, support_slope=-support @ metric)

    def prototype_weights(
        self, supports: Float[Tensor, "*#classes shot channel"], valid: Bool[Tensor, "*#classes shot"]
    ) -> tuple[Float[Tensor, "*classes shot"], Float[Tensor, "*classes"]]:
        """Weigh every support alike and add the variance of the class in the metric, at least 0."""
        return euclidean.prototype_weights(self.whitened(supports), valid)
