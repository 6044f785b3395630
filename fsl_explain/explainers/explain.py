"""The main road: from a query and its supports to an explanation of the decision."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from episodes.naming import unknown_name
from fsl_explain.classifiers import RULES, SupportSet, decide, padded_index, support_set
from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers.contrast_weights import Against, ClassReference, class_index, rival_weights
from fsl_explain.explainers.explanation import Explanation, Question
from fsl_explain.explainers.lafam import mean_activation_map
from fsl_explain.explainers.lafam import saliency as lafam_saliency
from fsl_explain.explainers.methods import find_method
from fsl_explain.similarities import SIMILARITIES

Supports = Tensor | Features | Mapping[str, Tensor]


def explain(
    encoder: Encoder,
    query: Float[Tensor, "*batch 3 height width"],
    supports: Supports,
    method: str = "exact",
    rule: str = "mean-similarity",
    similarity: str = "cosine",
    target: ClassReference | None = None,
    against: Against = None,
) -> Explanation:
    """Explain why a query is given a class by its similarity to the supports.

    ``query`` is one preprocessed image (3, H, W) or a batch of them. ``supports`` are images
    (way, shot, 3, H, W), their ``Features`` with leading dimensions (way, shot), or a mapping from class
    name to images (shot, 3, H, W) with any number of shots. ``target`` is a class index or name, the
    predicted class if None. ``against`` serves the method ``contrast``: a class, a list of classes (the
    mean of their scores), ``"others"``, or None for the best-scoring rival.

    Raises: ``ValueError``, ``LookupError`` or ``TypeError`` for input that does not fit, in one sentence.
    """
    choice = Choice(rule, similarity, target, against)
    explanation = explain_compared(compare(encoder, query, supports, similarity), method, choice)
    return explanation if query.dim() == 4 else explanation[0]


@dataclass(frozen=True)
class Compared:
    """A batch of queries and their supports, embedded once, so that several methods can explain them."""

    encoder: Encoder
    queries: Float[Tensor, "batch 3 height width"]
    features: Features
    supports: SupportSet
    support_images: Float[Tensor, "way shot 3 _height _width"] | None


def compare(encoder: Encoder, query: Tensor, supports: Supports, similarity: str = "cosine") -> Compared:
    """Embed queries and supports, checked as ``explain`` says."""
    queries = _as_batch(query)
    features = encoder(queries)
    gathered, support_images = _gather(encoder, supports)
    _check_embeddings(features.embedding, "query", similarity)
    _check_embeddings(gathered.embeddings, "support", similarity)
    return Compared(encoder, queries, features.in_float64(), gathered, support_images)


def explain_compared(compared: Compared, method: str, choice: "Choice") -> Explanation:
    """Explain a batch of queries by one method."""
    explainer = find_method(method)
    if choice.against is not None and not explainer.contrastive:
        raise ValueError(f"against belongs to method='contrast', but method is {method!r}; drop against.")
    encoder, queries, supports = compared.encoder, compared.queries, compared.supports
    question, rivals = ask(compared, choice, explainer.contrastive)
    attribution = explainer.attribute(question)
    on_supports = explainer.attribute_supports(question)
    scores = question.rule.class_scores(question.query.embedding, supports, question.similarity)
    dtype = attribution.cells.dtype
    return Explanation(
        method=method,
        decision=decide(scores.to("cpu", dtype), supports.classes),
        target=question.target.cpu(),
        against=None if rivals is None else rivals.to("cpu", dtype),
        score=(question.class_weights * scores).sum(dim=-1).to("cpu", dtype),
        contributions=attribution.contributions.to("cpu", dtype),
        cells=attribution.cells.cpu(),
        bias=attribution.bias.to("cpu", dtype),
        saliency=explainer.saliency(attribution.cells, (queries.shape[-2], queries.shape[-1])).cpu(),
        support_cells=on_supports.cells.masked_fill(~supports.valid[..., None, None], torch.nan).cpu(),
        support_bias=on_supports.bias.to("cpu", dtype),
        image=visible(encoder, queries.cpu()),
        support_images=None if compared.support_images is None else visible(encoder, compared.support_images.cpu()),
        signed=explainer.signed,
    )


@dataclass(frozen=True)
class Choice:
    """What the user chose to explain."""

    rule: str = "mean-similarity"
    similarity: str = "cosine"
    target: ClassReference | None = None
    against: Against = None


def ask(compared: Compared, choice: Choice, contrastive: bool) -> tuple[Question, Float[Tensor, "batch way"] | None]:
    """Turn a user's choice into a question about a batch of queries; also return the rivals of a contrast."""
    if choice.rule not in RULES:
        raise unknown_name("rule", choice.rule, RULES)
    if choice.similarity not in SIMILARITIES:
        raise unknown_name("similarity", choice.similarity, SIMILARITIES)
    rule, similarity = RULES[choice.rule], SIMILARITIES[choice.similarity]
    features, supports = compared.features, compared.supports
    scores = rule.class_scores(features.embedding, supports, similarity)
    target = _targets(scores, choice.target, supports.classes)
    class_weights = torch.nn.functional.one_hot(target, scores.shape[-1]).to(scores.dtype)
    rivals = None
    if contrastive:
        rivals = rival_weights(scores, target, choice.against, supports.classes)
        class_weights = class_weights - rivals
    encoder = compared.encoder
    question = Question(features, supports, class_weights, target, rule, similarity, encoder.pooling, encoder.head)
    return question, rivals


def saliency(
    encoder: Encoder,
    image: Float[Tensor, "*batch 3 height width"],
    method: str = "lafam",
    target: int | None = None,
    interpolation: str = "bilinear",
) -> Float[Tensor, "*batch height width"]:
    """Return the saliency, in [0, 1] and on the CPU, of one image or a batch without any supports.

    ``interpolation`` is ``bilinear``, to look at, or ``nearest``, as in LaFAM's tables.

    Raises: ``ValueError`` for a method that needs supports, or a target given to a label-free method.
    """
    if method != "lafam":
        find_method(method)
        raise ValueError(f"without supports there is only method='lafam', but got {method!r}; use explain().")
    if target is not None:
        raise ValueError("lafam explains no class, but got a target; drop target.")
    if interpolation not in ("bilinear", "nearest"):
        raise unknown_name("interpolation", interpolation, ("bilinear", "nearest"))
    batch = _as_batch(image)
    cells = mean_activation_map(encoder(batch).maps)
    enlarged = lafam_saliency(cells, (batch.shape[-2], batch.shape[-1]), interpolation).cpu()
    return enlarged if image.dim() == 4 else enlarged[0]


def visible(encoder: Encoder, images: Float[Tensor, "*batch 3 height width"]) -> Float[Tensor, "*batch 3 height width"]:
    """Undo the normalization of preprocessed images, for pictures; without a known one, stretch each to [0, 1]."""
    if encoder.normalization is None:
        low = images.amin(dim=(-3, -2, -1), keepdim=True)
        high = images.amax(dim=(-3, -2, -1), keepdim=True)
        return (images - low) / (high - low).clamp(min=1e-12)
    mean, std = (images.new_tensor(values)[:, None, None] for values in encoder.normalization)
    return (images * std + mean).clamp(0, 1)


def _as_batch(images: Tensor) -> Tensor:
    if not isinstance(images, Tensor):
        raise TypeError(f"expected a preprocessed tensor, but got {type(images).__name__}; use encoder.preprocess.")
    if images.dim() not in (3, 4) or images.shape[-3] != 3 or len(images) == 0:
        raise ValueError(f"expected an image (3, H, W) or a batch (B, 3, H, W), but got shape {tuple(images.shape)}.")
    return images if images.dim() == 4 else images[None]


def _gather(encoder: Encoder, supports: Supports) -> tuple[SupportSet, Tensor | None]:
    if isinstance(supports, Features):
        if supports.embedding.dim() != 3:
            raise ValueError(
                f"expected support features with leading dimensions (way, shot), but got an embedding of shape "
                f"{tuple(supports.embedding.shape)}."
            )
        way, shot = supports.embedding.shape[:2]
        flat = Features(supports.maps.flatten(0, 1), supports.pooled.flatten(0, 1), supports.embedding.flatten(0, 1))
        return support_set(flat, (shot,) * way, _numbered(way)), None
    groups = supports if isinstance(supports, Mapping) else _by_class(supports)
    _check_groups(groups)
    shots = tuple(len(images) for images in groups.values())
    stacked = torch.cat(list(groups.values()))
    index, _ = padded_index(shots)
    return support_set(encoder(stacked), shots, tuple(groups)), stacked[index.to(stacked.device)]


def _check_groups(groups: Mapping[str, Tensor]) -> None:
    if not groups:
        raise ValueError("expected supports of at least one class, but got none.")
    for name, images in groups.items():
        if not isinstance(images, Tensor):
            raise TypeError(
                f"expected a tensor (shot, 3, H, W) of supports for {name}, but got {type(images).__name__}; "
                "use encoder.preprocess."
            )
        if images.dim() != 4 or images.shape[1] != 3 or len(images) == 0:
            raise ValueError(
                f"expected supports (shot, 3, H, W) with at least one shot for {name}, "
                f"but got shape {tuple(images.shape)}."
            )
    sizes = {tuple(images.shape[-2:]): name for name, images in groups.items()}
    if len(sizes) > 1:
        listed = ", ".join(f"{height}×{width} ({name})" for (height, width), name in sizes.items())
        raise ValueError(f"expected supports of one size, but got {listed}; resize them alike.")


def _by_class(supports: Tensor) -> dict[str, Tensor]:
    if not isinstance(supports, Tensor):
        raise TypeError(
            "expected supports as a tensor (way, shot, 3, H, W), Features, or a mapping from class name to images, "
            f"but got {type(supports).__name__}; use torch.stack."
        )
    if supports.dim() != 5 or supports.shape[2] != 3:
        raise ValueError(f"expected supports of shape (way, shot, 3, H, W), but got {tuple(supports.shape)}.")
    return dict(zip(_numbered(len(supports)), supports, strict=True))


def _numbered(way: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(way))


def _targets(
    scores: Float[Tensor, "batch way"], target: ClassReference | None, classes: tuple[str, ...]
) -> Int[Tensor, "batch"]:
    if target is None:
        return scores.argmax(dim=-1)
    return torch.full(scores.shape[:-1], class_index(target, classes), device=scores.device)


def _check_embeddings(embeddings: Tensor, what: str, similarity: str) -> None:
    if not torch.isfinite(embeddings).all():
        raise ValueError(f"the encoder gave NaN or infinite values for a {what} image; check its weights and input.")
    if similarity == "cosine" and (embeddings.norm(dim=-1) == 0).any():
        raise ValueError(f"a {what} image has a zero embedding, which has no cosine similarity; use another image.")
