"""The decision of prototypical networks: similarity to the mean embedding of a class's supports."""

from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.similarities import Similarity


def class_scores(
    query: Float[Tensor, "*batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way"]:
    """Score each class by the similarity of the query to the mean of the class's support embeddings."""
    total = supports.embeddings.masked_fill(~supports.valid[..., None], 0).sum(dim=-2)
    means = total / supports.valid.sum(dim=-1, keepdim=True)
    return similarity.pairwise(query[..., None, :], means).squeeze(-2)


def weights(
    supports: SupportSet, similarity: Similarity
) -> tuple[Float[Tensor, "*episodes way shot"], Float[Tensor, "*episodes way"]]:
    """Write each class's score as a weighted sum of similarities, as the similarity says it can."""
    return similarity.prototype_weights(supports.embeddings, supports.valid)
