"""The decision FAM explains: the mean similarity of the query to a class's supports."""

from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet, pairwise_to_supports
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.similarity import uniform_weights


def class_scores(
    query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way"]:
    """Average over a class's shots the similarity of the query to each (FAM Eq. 11)."""
    similarities = pairwise_to_supports(query, supports, similarity)
    total = similarities.masked_fill(~supports.valid, 0).sum(dim=-1)
    return total / supports.valid.sum(dim=-1)


def weights(
    supports: SupportSet,
    similarity: Similarity,  # noqa: ARG001 - the signature of every rule
) -> tuple[Float[Tensor, "*episodes way shot"], Float[Tensor, "*episodes way"]]:
    """Weigh each of a class's K supports by 1/K; no constant."""
    shares = uniform_weights(supports.embeddings, supports.valid)
    return shares, shares.new_zeros(shares.shape[:-1])
