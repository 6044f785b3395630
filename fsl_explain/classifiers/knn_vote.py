"""Votes of the nearest neighbors: weighted (NPID's), by majority, or of the nearest alone.

Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018.
Notation: the k most similar supports vote; ties at the k-th place go to the lower index.
"""

from dataclasses import dataclass, replace
from numbers import Integral

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers.decision import SupportSet, Weights, pairwise_to_supports
from fsl_explain.classifiers.neighborhood import DEFAULT_K
from fsl_explain.similarities import Similarity

HOW_MANY = "how many voted (entropy of the votes)"


def nearest_of(
    similarities: Float[Tensor, "*#batch way shot"], valid: Bool[Tensor, "*#batch way shot"], k: int | None
) -> Bool[Tensor, "*batch way shot"]:
    """Mark the k valid supports most similar to each query; None: 200, or all where there are fewer.

    Raises: ``ValueError`` for more neighbors than there are supports.
    """
    there_are = int(valid.sum(dim=(-2, -1)).amin())
    if k is not None and not 1 <= k <= there_are:
        raise Mistake(f"asked for {k} neighbors, but there are {there_are} supports; choose k from 1 to {there_are}.")
    flat = similarities.masked_fill(~valid, -torch.inf).flatten(start_dim=-2)
    order = flat.argsort(dim=-1, descending=True, stable=True)[..., : k or DEFAULT_K]
    marked = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, order, True)
    nearest: Tensor = marked.unflatten(-1, similarities.shape[-2:]) & valid
    return nearest


def _expect_whole(k: object) -> None:
    if k is not None and (isinstance(k, bool) or not isinstance(k, Integral)):
        raise Mistake(f"expected k as a whole number of neighbors, or None, but got {k!r:.80}.")


@dataclass(frozen=True)
class KnnVote:
    """Class score log v_c, v_c = Σ exp(S_k/τ) over the neighbors of class c among the k nearest.

    The vote is NPID's; its logarithm makes a contrast a sum: how similar the voters are, and how many. ``k`` neighbors
    vote; None: 200, or all where there are fewer. ``temperature`` is τ, in units of the similarity: the smaller, the
    more the nearest neighbors outweigh the others. A score may have any sign, and is minus infinity without a neighbor.

    Raises: ``ValueError`` for a temperature that is not above 0, for a k that is no whole number, and when it decides
    for one below 1 or above the number of supports.
    """

    k: int | None = None
    temperature: float = 0.07

    def __post_init__(self) -> None:
        _expect_whole(self.k)
        if not self.temperature > 0:
            raise Mistake(f"a weighted vote needs a temperature above 0, but got {self.temperature}.")

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the logarithm of each class's vote; minus infinity without a neighbor."""
        return self._exponents(query, supports, similarity).logsumexp(dim=-1)

    decision_scores = class_scores

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Write log v_c as E_π[S]/τ + H(π) with π ∝ exp(S/τ) over the class's voters."""
        shares = self._exponents(query, supports, similarity).softmax(dim=-1).nan_to_num(nan=0.0)
        entropy = torch.special.entr(shares).sum(dim=-1)
        return Weights(
            class_weights[..., None] * shares / self.temperature, {HOW_MANY: (class_weights * entropy).sum(dim=-1)}
        )

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark the k nearest supports."""
        return nearest_of(pairwise_to_supports(query, supports, similarity), supports.valid, self.k)

    @property
    def words(self) -> str:
        """How votes are counted."""
        return f"weighted, temperature {self.temperature:g}"

    def of(self, k: int | None) -> "KnnVote":
        """Return the same vote of ``k`` neighbors; None: of all, or 200 where there are more."""
        return replace(self, k=k)

    def votes(self, below_first: Float[Tensor, "*neighbors"]) -> Float[Tensor, "*neighbors"]:
        """Return exp(s/τ), divided by that of the nearest neighbor: 1 for that one, at most 1 for others."""
        return torch.exp(below_first / self.temperature)

    def shares(self, ranking: Float[Tensor, "*query way"]) -> Float[Tensor, "*query way"]:
        """Return v_c / Σ v from the logarithms."""
        return ranking.softmax(dim=-1)

    def scores_of_voters(
        self, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
    ) -> tuple[Float[Tensor, "query way"], Float[Tensor, "query way"]]:
        """Return log v_c, relative to the best voter of the class, so that nothing underflows; it also decides."""
        best = _best(similarities, labels, classes)
        votes = self.votes(similarities - best.gather(1, labels))
        scores = best / self.temperature + torch.zeros_like(best).scatter_add(1, labels, votes).log()
        return scores, scores

    def _exponents(self, query: Tensor, supports: SupportSet, similarity: Similarity) -> Tensor:
        similarities = pairwise_to_supports(query, supports, similarity)
        voters = nearest_of(similarities, supports.valid, self.k)
        return (similarities / self.temperature).masked_fill(~voters, -torch.inf)


@dataclass(frozen=True)
class MajorityVote:
    """The class with most of the k nearest supports; explained is the mean similarity of a class's voters.

    A count does not change with the image until a neighbor does, so it has no contributions of its own. ``k`` neighbors
    vote; None: 200, or all where there are fewer.

    Raises: ``ValueError`` for a k that is no whole number, and when it decides for one below 1 or above the number of
    supports.
    """

    k: int | None = None

    def __post_init__(self) -> None:
        _expect_whole(self.k)

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Average the similarities of a class's voters; minus infinity without a voter."""
        similarities = pairwise_to_supports(query, supports, similarity)
        voters = nearest_of(similarities, supports.valid, self.k)
        count = voters.sum(dim=-1)
        mean = similarities.masked_fill(~voters, 0).sum(dim=-1) / count
        return mean.masked_fill(count == 0, -torch.inf)

    def decision_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Count the voters of each class, from 0 to k."""
        return self.voters(query, supports, similarity).sum(dim=-1).to(query.dtype)

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Give each voter of a class the same share."""
        voters = self.voters(query, supports, similarity).to(class_weights.dtype)
        return Weights(class_weights[..., None] * voters / voters.sum(dim=-1, keepdim=True).clamp(min=1), {})

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark the k nearest supports."""
        return nearest_of(pairwise_to_supports(query, supports, similarity), supports.valid, self.k)

    @property
    def words(self) -> str:
        """How votes are counted."""
        return "one each"

    def of(self, k: int | None) -> "MajorityVote":
        """Return the same vote of ``k`` neighbors; None: of all, or 200 where there are more."""
        return replace(self, k=k)

    def votes(self, below_first: Float[Tensor, "*neighbors"]) -> Float[Tensor, "*neighbors"]:
        """Return one vote for each."""
        return torch.ones_like(below_first)

    def shares(self, ranking: Float[Tensor, "*query way"]) -> Float[Tensor, "*query way"]:
        """Divide the counts by their sum."""
        return ranking / ranking.sum(dim=-1, keepdim=True)

    def scores_of_voters(
        self, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
    ) -> tuple[Float[Tensor, "query way"], Float[Tensor, "query way"]]:
        """Return the mean similarity of each class's voters, and their number, which decides."""
        zeros = similarities.new_zeros(len(similarities), classes)
        count = zeros.scatter_add(1, labels, self.votes(similarities))
        mean = zeros.scatter_add(1, labels, similarities) / count
        return mean.masked_fill(count == 0, -torch.inf), count


@dataclass(frozen=True)
class NearestNeighbor:
    """Each class scores by its most similar support: retrieval's top-1, and its margin as a contrast.

    With every image a class of its own, the contrast with the runner-up is the margin to the second image.
    """

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the largest similarity within each class."""
        similarities = pairwise_to_supports(query, supports, similarity)
        return similarities.masked_fill(~supports.valid, -torch.inf).amax(dim=-1)

    decision_scores = class_scores

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Give the nearest support of each class the whole weight."""
        return Weights(class_weights[..., None] * self.voters(query, supports, similarity), {})

    def voters(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Bool[Tensor, "*batch way shot"]:
        """Mark the nearest support of each class; the lowest index wins a tie."""
        similarities = pairwise_to_supports(query, supports, similarity)
        best = similarities.masked_fill(~supports.valid, -torch.inf).argmax(dim=-1, keepdim=True)
        return torch.zeros_like(similarities, dtype=torch.bool).scatter(-1, best, True) & supports.valid

    def scores_of_voters(
        self, similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
    ) -> tuple[Float[Tensor, "query way"], Float[Tensor, "query way"]]:
        """Return the largest similarity within each class, which also decides."""
        best = _best(similarities, labels, classes)
        return best, best


def _best(
    similarities: Float[Tensor, "query k"], labels: Int[Tensor, "query k"], classes: int
) -> Float[Tensor, "query way"]:
    """Return the largest similarity within each class, minus infinity without a neighbor."""
    nobody = similarities.new_full((len(similarities), classes), -torch.inf)
    return nobody.scatter_reduce(1, labels, similarities, "amax")


KNN_VOTE, MAJORITY_VOTE, NEAREST_NEIGHBOR = KnnVote(), MajorityVote(), NearestNeighbor()
