"""The decision FAM explains: the mean similarity of the query to a class's supports."""

from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet, Weights, every_valid, pairwise_to_supports
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.similarity import uniform_weights


def class_scores(
    query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way"]:
    """Average over a class's shots the similarity of the query to each (FAM Eq. 11).

    A class without supports scores minus infinity.
    """
    similarities = pairwise_to_supports(query, supports, similarity)
    count = supports.valid.sum(dim=-1)
    mean = similarities.masked_fill(~supports.valid, 0).sum(dim=-1) / count
    return mean.masked_fill(count == 0, -float("inf"))


def weights(
    class_weights: Float[Tensor, "*batch way"],
    query: Float[Tensor, "*batch channel"],  # noqa: ARG001 - the signature of every rule
    supports: SupportSet,
    similarity: Similarity,  # noqa: ARG001
) -> Weights:
    """Weigh each of a class's K supports by 1/K; no constant."""
    return Weights(class_weights[..., None] * uniform_weights(supports.embeddings, supports.valid), {})


decision_scores = class_scores
voters = every_valid
is_linear_in_embeddings = True
