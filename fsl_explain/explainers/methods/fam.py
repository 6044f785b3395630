"""FAM: feature activation maps, equation by equation.

Source: Liao, Gao, Zhang, "Feature Activation Map: Visual Explanation of Deep Learning Models for Image
Classification", 2023, Eqs. 11 to 18.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.normalization import min_max, min_max_map, upsample
from fsl_explain.explainers.question import Question, expect_addends, expect_one_value_a_map, expect_pooling
from fsl_explain.heads import Center, L2Normalize
from fsl_explain.heads.per_scale import PerScale
from fsl_explain.similarities import Similarity
from fsl_explain.traces import weighted_sum


def contribution_weights(
    query: Float[Tensor, "*batch channel"],
    supports: Float[Tensor, "*batch shot channel"],
    valid: Bool[Tensor, "*batch shot"],
    similarity: Similarity,
) -> Float[Tensor, "*batch channel"]:
    """Average over the shots each channel's share of the similarity (FAM Eq. 15).

    Each shot is divided by |its similarity|, as the paper writes it. The weights therefore sum to
    the mean sign of the similarities (1 when all are positive), not to the similarity, and are not
    bounded by 1 for signed embeddings. DEVIATION: a shot whose similarity is 0 counts 0, where the
    paper divides by zero.
    """
    addends = similarity.contributions(query[..., None, :].expand_as(supports), supports)
    size = addends.sum(dim=-1, keepdim=True).abs()
    shares = torch.where(size > 0, addends / torch.where(size > 0, size, 1), 0)
    counted = shares.masked_fill(~valid[..., None], 0).sum(dim=-2)
    return counted / valid.sum(dim=-1, keepdim=True)


def project(weights: Float[Tensor, "*batch embedding"], head: nn.Module) -> Float[Tensor, "*batch channel"]:
    """Carry weights from the embedding back to the channels of the maps, C = W C' (FAM Eq. 18).

    W is the linear layer of the embedding z' = z W (Eq. 16); its bias plays no part in the paper.
    An L2 normalization behind it scales an image's weights alike and leaves Eq. 12 unchanged. A center is a bias. Of a
    layer normalization, the gain multiplies; its mean and its scale move or scale all weights alike, too. Of an image
    seen at several scales the channels of each go back through its own head.
    """
    if isinstance(head, PerScale):
        parts = zip(head.heads, weights.chunk(len(head.heads), dim=-1), strict=True)
        return torch.cat([project(part, one) for one, part in parts], dim=-1)
    for layer in reversed(_linear_layers(head)):
        if layer.weight is not None:
            matrix = layer.weight.detach().to(weights.dtype)
            weights = weights * matrix if isinstance(layer, nn.LayerNorm) else weights @ matrix
    return weights


def has_projection(head: nn.Module) -> bool:
    """Whether Eq. 18 carries weights through a head."""
    try:
        for one in head.heads if isinstance(head, PerScale) else [head]:
            _linear_layers(one)
    except Mistake:
        return False
    return True


def feature_activation_map(
    maps: Float[Tensor, "*batch channel h w"], weights: Float[Tensor, "*batch channel"]
) -> Float[Tensor, "*batch h w"]:
    """Sum the activation maps with weights rescaled to [0, 1] (FAM Eq. 13)."""
    return weighted_sum(maps, min_max(weights))


def attribute(question: Question) -> Attribution:
    """Explain the target class's score by FAM; the weights are those before rescaling, and there is no bias."""
    weights = _channel_weights(question)
    maps = question.query.maps
    return Attribution(weights, feature_activation_map(maps, weights), weights.new_zeros(weights.shape[:-1]))


def attribute_supports(question: Question) -> SupportAttribution:
    """Draw the same channel weights on the maps of the target class's supports; the other classes have none."""
    features = question.supports.features
    if features is None:
        raise Mistake("the support side needs the supports' activation maps, but only embeddings were kept.")
    weights = _channel_weights(question)[..., None, None, :]
    cells = weighted_sum(features.maps, min_max(weights).expand(*weights.shape[:-3], *features.pooled.shape[-3:]))
    chosen = nn.functional.one_hot(question.target, features.pooled.shape[-3])[..., None, None, None]
    return SupportAttribution(cells * chosen, cells.new_zeros(question.target.shape))


def saliency(cells: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch height width"]:
    """Enlarge bilinearly, then rescale to [0, 1]."""
    return min_max_map(upsample(cells, size))


def _channel_weights(question: Question) -> Float[Tensor, "*batch channel"]:
    """Return the projected weights of Eq. 15 over the target's supports that had a say in the decision."""
    expect_addends(question, "fam")
    expect_one_value_a_map(question, "fam")
    query, supports = question.query.embedding, question.supports
    chosen = _of_target(supports.embeddings.expand(*query.shape[:-1], *supports.embeddings.shape[-3:]), question.target)
    voters = _of_target(question.rule.voters(query, supports, question.similarity), question.target)
    return project(contribution_weights(query, chosen, voters, question.similarity), question.head)


def _of_target(values: Tensor, target: Tensor) -> Tensor:
    """Pick the target's entry of a class dimension that follows the batch dimensions."""
    index = target.reshape(*target.shape, *(1,) * (values.dim() - target.dim()))
    return values.take_along_dim(index, dim=target.dim()).squeeze(target.dim())


def _linear_layers(head: nn.Module) -> list[nn.Linear | nn.LayerNorm]:
    layers: list[nn.Linear | nn.LayerNorm] = []
    for layer in head if isinstance(head, nn.Sequential) else [head]:
        if isinstance(layer, nn.Sequential):
            layers += _linear_layers(layer)
        elif isinstance(layer, nn.Linear | nn.LayerNorm):
            layers.append(layer)
        elif not isinstance(layer, nn.Identity | nn.Dropout | L2Normalize | Center):
            raise Mistake(
                f"FAM's Eq. 18 needs a linear head (Linear, LayerNorm, L2Normalize, Center), but this one holds a "
                f"{type(layer).__name__}; use method='exact' or 'contrast'."
            )
    return layers


def _expect_pooling(encoder: Encoder) -> None:
    expect_pooling(encoder.pooling, "fam")


FAM = Method(
    attribute,
    attribute_supports,
    saliency,
    addends="weights of Eq. 15",
    ranks=True,
    by_channel=True,
    of_one_value_a_map=True,
    expects=_expect_pooling,
)
