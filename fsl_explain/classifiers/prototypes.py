"""The decision of prototypical networks: similarity to the mean embedding of a class's supports."""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet, Weights, every_valid
from fsl_explain.similarities import Similarity, weighs_supports
from fsl_explain.similarities.similarity import uniform_weights

SPREAD = "spread of the supports around their prototypes"


def class_scores(
    query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
) -> Float[Tensor, "*batch way"]:
    """Score each class by the similarity of the query to the mean of the class's support embeddings.

    A class without supports scores minus infinity.
    """
    count = supports.valid.sum(dim=-1, keepdim=True)
    total = supports.embeddings.masked_fill(~supports.valid[..., None], 0).sum(dim=-2)
    scores = similarity.pairwise(query[..., None, :], total / count.clamp(min=1)).squeeze(-2)
    return scores.masked_fill(count.squeeze(-1) == 0, -float("inf"))


def weights(
    class_weights: Float[Tensor, "*batch way"],
    query: Float[Tensor, "*batch channel"],  # noqa: ARG001 - the signature of every rule
    supports: SupportSet,
    similarity: Similarity,
) -> Weights:
    """Write each class's score as a weighted sum of similarities, as the similarity says it can.

    Where it is not linear in the supports, or each scale weighs them otherwise, they have equal parts in the
    similarity to their mean.
    """
    if not weighs_supports(similarity):
        return Weights(class_weights[..., None] * uniform_weights(supports.embeddings, supports.valid), {})
    on_supports, constant = similarity.prototype_weights(supports.embeddings, supports.valid)
    return Weights(class_weights[..., None] * on_supports, {SPREAD: (class_weights * constant).sum(dim=-1)})


def compared_with(supports: SupportSet, similarity: Similarity) -> SupportSet:
    """Return the prototype in the place of each support where the similarity to it is no sum of similarities."""
    if weighs_supports(similarity):
        return supports
    means = (uniform_weights(supports.embeddings, supports.valid)[..., None] * supports.embeddings).sum(dim=-2)
    return replace(supports, embeddings=means[..., None, :].expand(supports.embeddings.shape))


decision_scores = class_scores
voters = every_valid
is_linear_in_embeddings = True
