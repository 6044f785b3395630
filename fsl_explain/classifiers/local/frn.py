"""Feature map reconstruction: how well the cells of a class reconstruct those of the query, by ridge regression.

Source: FRN, Wertheimer et al., "Few-Shot Classification with Feature Map Reconstruction Networks", 2021, Eqs. 3 to 9,
and its published code. Notation: S are the K·D cells of a class, x_p a cell of the query, J the channels.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.weights.checkpoint import check_finite, read_state
from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.classifiers.local.rule import LocalRule
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.pair_form import PairForm
from fsl_explain.similarities.similarity import uniform_weights

RESIDUAL_CHANNELS = 640  # of the published ResNet-12
SMALLEST = 1e-6  # of λ, as in the published code
LARGEST = 700.0  # of α and β, whose exponentials are numbers


@dataclass(frozen=True)
class FRN(LocalRule):
    """-(scale/P) Σ_p ‖x_p - x̂_p‖² with x̂_p = ρ x_p Sᵀ (S Sᵀ + λ)⁻¹ S, λ = (K·D/J) exp(α) + 1e-6 and ρ = exp(β).

    At most 0. ``alpha``, ``beta`` and ``scale`` are learned in the paper, 0, 0 and 1 before. Features are divided by
    ``divisor``: √640 behind the paper's ResNet-12, else 1. The distance is the rule's own, whatever the similarity is.
    The weights of the regression are frozen in explanations. ``channels`` is as ``LocalRule`` says.

    Raises: ``ValueError`` for a number that is not finite, an alpha or a beta above 700, and a scale or a divisor that
    is not above 0.
    """

    alpha: float = 0.0
    beta: float = 0.0
    scale: float = 1.0
    divisor: float = 1.0

    holds_frozen: ClassVar[str] = "the weights of the regression"

    def __post_init__(self) -> None:
        super().__post_init__()
        values = (self.alpha, self.beta, self.scale, self.divisor)
        if not all(map(math.isfinite, values)) or min(self.scale, self.divisor) <= 0:
            given = ", ".join(map(str, values))
            raise Mistake(f"FRN needs finite alpha and beta, and a scale and a divisor above 0, but got {given}.")
        if max(self.alpha, self.beta) > LARGEST:
            raise Mistake(
                f"FRN needs an alpha and a beta of at most {LARGEST:g}, which are exponents, but got {self.alpha} and "
                f"{self.beta}."
            )

    @classmethod
    def load(cls, path: str | Path) -> "FRN":
        """Read what a checkpoint of the published code learned: α and β, the scale, and whether it is a ResNet-12.

        The same file is the encoder's: ``Encoder.named("resnet12", checkpoint=path)``.

        Raises: ``FileNotFoundError``; ``ValueError`` for a file without the two parameters of FRN, or with values that
        are not finite.
        """
        state = read_state(Path(path))
        if "r" not in state or "scale" not in state or state["r"].shape != (2,):
            raise Mistake(f"expected a checkpoint of FRN in {path}, but it has no parameters r (2) and scale.")
        check_finite({name: state[name] for name in ("r", "scale")}, str(path))
        (alpha, beta), scale = state["r"].tolist(), float(state["scale"])
        residual = any(name.startswith("feature_extractor.layer1.") for name in state)
        return cls(alpha=alpha, beta=beta, scale=scale, divisor=math.sqrt(RESIDUAL_CHANNELS) if residual else 1.0)

    def scored(
        self,
        query: Float[Tensor, "query flat"],
        supports: SupportSet,
        similarity: Similarity,  # noqa: ARG002
    ) -> Float[Tensor, "query way"]:
        """Reconstruct by the J×J hat matrix of each class, or by its K·D cells where these are fewer than J."""
        theirs = self._of_classes(supports)
        ours = (self.own_cells(query) / self.divisor)[..., None, :, :]
        if theirs.shape[-2] < theirs.shape[-1] and theirs.dim() == 3:  # shared supports: one regression for all
            weights = self._regression(ours.flatten(0, 2), supports)
            made = (weights @ theirs).unflatten(1, (len(ours), -1)).movedim(1, 0)
        elif theirs.shape[-2] < theirs.shape[-1]:
            made = self._regression(ours, supports) @ theirs
        else:
            gram, ridge = theirs.mT @ theirs, self._ridge(supports)
            hat = torch.linalg.solve(gram + ridge[..., None, None] * torch.eye(gram.shape[-1]).to(gram), gram)
            made = ours @ hat * math.exp(self.beta)
        apart = made - ours
        scores: Tensor = -self.scale * apart.square().sum(dim=-1).mean(dim=-1)
        return scores

    def frozen(
        self,
        query: Float[Tensor, "*batch flat"],
        supports: SupportSet,
        similarity: Similarity,  # noqa: ARG002
    ) -> PairForm:
        """Write each class's score as x·x̂ - x·e - x̂·x̂ with e = x - x̂, x̂ = W y and the weights W frozen.

        What x alone makes, -x·e, is shared by the class's supports evenly; -x̂·x̂ stands at the query's cells.
        """
        shot = supports.valid.shape[-1]
        ours, factor = self.own_cells(query)[..., None, :, :], self.scale / self.divisor**2
        weights = self._regression(ours / self.divisor, supports)  # (…, way, p, shot · r)
        made = weights @ self._of_classes(supports) * self.divisor
        cells = ours.shape[-2]
        flow = weights.unflatten(-1, (shot, -1)).movedim(-2, -3) * (factor / cells)
        parts = uniform_weights(supports.embeddings, supports.valid)[..., None, None]
        slope = (made - ours)[..., None, :, :] * (factor / cells) * parts
        return PairForm(ours.shape[-1], flow, query_slope=slope, beside=-made[..., None, :, :])

    def _regression(self, ours: Tensor, supports: SupportSet) -> Tensor:
        """Return W = ρ x Sᵀ (S Sᵀ + λ)⁻¹ = ρ x (SᵀS + λ)⁻¹ Sᵀ of each class, 0 for cells of padding.

        S has K·D cells of J channels; the system of fewer unknowns is solved.
        """
        theirs = self._of_classes(supports)
        by_cells = theirs.shape[-2] <= theirs.shape[-1]
        gram = theirs @ theirs.mT if by_cells else theirs.mT @ theirs
        gram = gram + self._ridge(supports)[..., None, None] * torch.eye(gram.shape[-1]).to(gram)
        if by_cells:
            found: Tensor = torch.linalg.solve(gram, theirs @ ours.mT).mT
        else:
            found = ours @ torch.linalg.solve(gram, theirs.mT)
        return found * math.exp(self.beta)

    def _of_classes(self, supports: SupportSet) -> Tensor:
        """Return the cells (…, way, shot · r, J) of each class; those of padding are 0, and have no weight."""
        cells = self.own_cells(supports.embeddings) / self.divisor
        return cells.masked_fill(~supports.valid[..., None, None], 0).flatten(-3, -2)

    def _ridge(self, supports: SupportSet) -> Tensor:
        cells, channels = self.own_cells(supports.embeddings).shape[-2:]
        count = supports.valid.sum(dim=-1).to(supports.embeddings)
        return count * (cells / channels * math.exp(self.alpha)) + SMALLEST


RECONSTRUCTION = FRN()
