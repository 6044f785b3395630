"""Earth mover's distance between the cells of two images.

Source: DeepEMD, Zhang et al., "DeepEMD: Few-Shot Image Classification with Differentiable Earth Mover's Distance and
Structured Classifiers", 2020, Eqs. 1 to 7, and its published code: features are centered over their channels, a cell
weighs what it has in common with the other image's mean. The flow is solved by POT (Flamary et al., 2021).
"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.classifiers.local.rule import LocalRule
from fsl_explain.classifiers.local.transport import Transport, transported, weights_of
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.pair_form import PairForm
from fsl_explain.similarities.similarity import uniform_weights


@dataclass(frozen=True)
class DeepEMD(LocalRule):
    """Σ_pr T_pr s(x_p, y_r), T the flow that moves the query's weights to the support's at the least Σ T (1 - s).

    The weights of an image's cells sum to 1, so that the score is a mean similarity: the paper's logits are that times
    its temperature, 12.5. ``centered`` subtracts from each cell the mean over its channels first; ``channels`` is how
    many a cell has, as in ``LocalRule``.

    DEVIATION: of several supports the score is that with the mean of their maps, where the paper's structured
    classifier starts before it is fitted to the supports by gradient descent, as ``StructuredDeepEMD`` is.

    The flow is frozen in explanations, which is the derivative of the score by the similarities (the envelope theorem).

    Raises: ``ValueError`` without POT.
    """

    centered: bool = True

    holds_frozen: ClassVar[str] = "the flow of the transport, with what each cell weighs in it"

    def scored(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> Tensor:
        """Add similarities times flows up; derivatives by the cells' weights are those of the optimum, by its duals."""
        means = self._means(supports)
        compared = self._compared(query, means, similarity)
        solved = self._solved(query, means, compared)
        moved = (solved.flow * compared).sum(dim=(-2, -1))
        for dual, weights in zip((solved.leaving, solved.arriving), self._both_weights(query, means), strict=True):
            moved = moved - (dual * (weights - weights.detach())).sum(dim=-1)
        return moved

    def frozen(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> PairForm:
        """Give each support its part of the mean: 1/K of the flow, with norms frozen at the mean's."""
        means = self._means(supports)
        flow = self._solved(query, means, self._compared(query, means, similarity)).flow[..., None, :, :]
        shares = uniform_weights(supports.embeddings, supports.valid)[..., None, None]
        ours = self._seen(self.own_cells(query))[..., None, None, :, :]
        theirs = self._seen(means)[..., None, :, :]
        pairs = similarity.form(ours[..., :, None, :], theirs[..., None, :, :])
        found = PairForm.of_pairs(flow * shares, pairs, ours)  # type: ignore[arg-type]
        return found.seen_centered() if self.centered else found

    def _solved(self, query: Tensor, means: Tensor, compared: Tensor) -> Transport:
        """Solve the transport of each query to each class, by the similarities of their cells."""
        found = transported(compared, *self._both_weights(query, means))
        return Transport(*(values.to(query) for values in (found.flow, found.leaving, found.arriving)))

    def _both_weights(self, query: Tensor, means: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the cells of the query and those of each class weigh."""
        ours = self.own_cells(query)[..., None, :, :]
        return _weights(ours, means.mean(dim=-2)), _weights(means, ours.mean(dim=-2))

    def _compared(self, query: Tensor, means: Tensor, similarity: Similarity) -> Float[Tensor, "*batch way p r"]:
        ours = self._seen(self.own_cells(query))[..., None, :, :]
        return similarity.pairwise(ours, self._seen(means))

    def _seen(self, cells: Tensor) -> Tensor:
        return cells - cells.mean(dim=-1, keepdim=True) if self.centered else cells

    def _means(self, supports: SupportSet) -> Float[Tensor, "*batch way r channel"]:
        """Return the mean maps of each class; those of a class without supports are 0."""
        shares = uniform_weights(supports.embeddings, supports.valid)
        values = supports.embeddings.masked_fill(~supports.valid[..., None], 0)
        return self.own_cells((shares[..., None] * values).sum(dim=-2))


def _weights(cells: Tensor, other_mean: Tensor) -> Tensor:
    """Return what each cell weighs: its inner product with the other image's mean where that is positive."""
    return weights_of((cells @ other_mean[..., None]).squeeze(-1))


EARTH_MOVER = DeepEMD()
