"""The main road: from a query and its supports to an explanation of the decision."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.classifiers import Rule, decide
from fsl_explain.encoder import Encoder, expect_encoder
from fsl_explain.explainers.choice import Choice, ask, expect_transductive, find_rule
from fsl_explain.explainers.compared import Compared, as_batch, compare
from fsl_explain.explainers.contrast_weights import Against, ClassReference
from fsl_explain.explainers.evidence import evidence_of
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.methods import class_logit, eigen_cam, lafam, map_gradients
from fsl_explain.explainers.methods.cam_formulas import FORMULAS
from fsl_explain.explainers.methods.exact import support_addends
from fsl_explain.explainers.methods.named import METHODS, find_method, name_of
from fsl_explain.explainers.methods.relax import RelaxOptions, relax
from fsl_explain.explainers.methods.relax import saliency as scaled_importance
from fsl_explain.explainers.prompts import Text, scale_of, supports_of
from fsl_explain.explainers.question import Question
from fsl_explain.explainers.seen_locally import seen_by
from fsl_explain.explainers.sides import QuerySide, SupportSide
from fsl_explain.explainers.support_groups import Supports, Unlabeled, embedded
from fsl_explain.pullback.rules import PullbackRule
from fsl_explain.scales import seen_at
from fsl_explain.similarities import Similarity

LABEL_FREE: dict[str, Callable[..., Tensor]] = {
    "lafam": lambda found, size, mode: lafam.saliency(lafam.redistributed(found), size, mode),
    "eigen-cam": lambda found, size, mode: map_gradients.saliency(eigen_cam.principal_map(found.maps), size, mode),
}
MASKED_AT_RANDOM = ("relax", "u-relax")


def explain(
    encoder: Encoder,
    query: Float[Tensor, "*batch color height width"],
    supports: Supports | None = None,
    *,
    text: Text | None = None,
    method: str | Method = "exact",
    rule: str | Rule = "mean-similarity",
    similarity: str | Similarity = "cosine",
    target: ClassReference | None = None,
    against: Against = None,
    scale: float | None = None,
    threshold: float | None = None,
    detail: int = 0,
    biases: str = "drawn",
    pullback: str | PullbackRule = "abs",
    scales: Sequence[int] | None = None,
    scale_weights: Sequence[float] | None = None,
    support_scales: Sequence[int] | None = None,
    unlabeled: Unlabeled | None = None,
) -> Explanation:
    """Explain why a query is given a class by its similarity to the supports.

    ``query`` is one preprocessed image (3, H, W) or a batch of them, with as many channels as the network reads; of a
    batch the explanation's tensors have a leading dimension.
    ``supports`` are images (way, shot, 3, H, W), their ``Features`` with leading dimensions (way, shot), embeddings
    (way, shot, J), prototypes (way, J), or a mapping from class name to images (shot, 3, H, W), ``Features`` (shot, …),
    embeddings (shot, J) or one prototype (J,), with any number of shots. Images go through the network a batch at a
    time; embeddings have no maps, so that ``support_cells`` are NaN. For an encoder with a text tower ``text`` takes
    their place: a mapping from class name to a prompt, prompts (a shot each) or embeddings (shot, J), or a list of
    prompts, each a class of its own. Embeddings of prompts have norm 1.

    ``method`` is ``exact`` (the target's score), ``contrast`` (its lead over rivals), ``log-probability`` (of the
    softmax of ``scale`` times the scores, above 0; if None 1, or with ``text`` the model's own), ``verification`` (the
    score minus ``threshold``), or another name in ``METHODS``; or an object such as
    ``relax_method(RelaxOptions(masks=512))``. ``rule`` and ``similarity`` are names or objects such as
    ``KnnVote(k=20)`` and ``Mahalanobis.fit(embeddings)``.
    ``target`` is a class index or name, the predicted class if None. ``against`` serves ``contrast``: a
    class, a list of classes (the mean of their scores), ``"others"``, or None for the best-scoring rival.

    ``detail`` draws the cells finer: each step doubles the grid of the network's last maps, on both sides, and cells
    and bias still add up to the score; ``Encoder.with_detail`` says how, and what ``biases`` and ``pullback`` are,
    which go with a detail alone.
    ``unlabeled`` are the images of the episode that are to be decided (n, 3, H, W), the query among them or not, or
    their embeddings (n, J) or ``Features``: rules that look at all of them together need them, such as ``bd-cspn``.
    ``scales`` are sides at which every image is seen, such as ``(224, 448)``: the decision is then the mean of those at
    each scale, with equal ``scale_weights`` unless given, and the receipt has a line for each. ``support_scales`` are
    the sides of the supports where they are others, such as ``(224,)`` for all scales; see ``Encoder.at_scales``, which
    says what a tensor of one size can and cannot give.

    Raises: ``ValueError``, ``LookupError`` or ``TypeError`` for input that does not fit, in one sentence.
    """
    expect_encoder(encoder, "encoder, query, supports")
    if detail != 0:
        _expect_drawn_finer(method)
        encoder = encoder.with_detail(detail, biases, pullback)
    elif biases != "drawn" or pullback != "abs":
        raise Mistake("biases and pullback say how finer cells are drawn, but detail is 0; add detail=1, or drop them.")
    encoder = seen_at(encoder, scales, scale_weights, support_scales)
    factor = scale_of(encoder, scale, text)
    choice = Choice(rule, similarity, target, against, factor, None if threshold is None else float(threshold))
    given = supports_of(encoder, supports, text)
    if unlabeled is not None:
        expect_transductive(find_rule(rule))
    compared = compare(encoder, query, given, similarity, unlabeled=unlabeled)
    explanation = explain_compared(compared, method, choice)
    return explanation if query.dim() == 4 else explanation[0]


def _expect_drawn_finer(method: str | Method) -> None:
    explainer = find_method(method)
    if not explainer.draws_finer:
        finer = ", ".join(name for name, one in METHODS.items() if one.draws_finer)
        raise Mistake(
            f"detail draws the cells of {finer} finer, but method is {name_of(method)!r}, whose map is of another "
            "kind; drop detail."
        )


def explain_compared(compared: Compared, method: str | Method, choice: Choice) -> Explanation:
    """Explain a batch of queries by one method; autocast, which has served the network, ends here."""
    with torch.autocast(compared.features.maps.device.type, enabled=False):
        return _explained(compared, method, choice)


def _explained(compared: Compared, method: str | Method, choice: Choice) -> Explanation:
    explainer, name = find_method(method), name_of(method)
    _check_options(explainer, name, choice)
    compared = seen_by(find_rule(choice.rule), compared)
    question = ask(compared, choice, explainer.explains)
    attribution = explainer.attribute(question)
    dtype, rivals = attribution.cells.dtype, question.explained.rivals
    decision = decide(question.ranking.cpu(), question.supports.classes)  # in float64, as the target was found
    return Explanation(
        method=name,
        decision=replace(decision, scores=decision.scores.to(dtype)),
        target=question.target.cpu(),
        against=None if rivals is None else rivals.to("cpu", dtype),
        exact_score=question.explained.value.cpu(),
        constants={name: value.cpu() for name, value in question.constants.items()},
        query=_query_side(compared, attribution, explainer),
        supports=_support_side(compared, question, explainer, dtype),
        evidence=evidence_of(question),
        signed=explainer.signed,
        addends=explainer.addends,
        ranks=explainer.ranks,
        geometry=compared.encoder.geometry,
    )


def _query_side(compared: Compared, attribution: Attribution, explainer: Method) -> QuerySide:
    dtype, size = attribution.cells.dtype, (compared.queries.shape[-2], compared.queries.shape[-1])
    return QuerySide(
        contributions=attribution.contributions.to("cpu", dtype),
        cells=attribution.cells.cpu(),
        bias=attribution.bias.to("cpu", dtype),
        saliency=explainer.saliency(attribution.cells, size).cpu(),
        image=compared.visible_queries,
        named={name: value.to("cpu", dtype) for name, value in attribution.named.items()},
        steps=None if attribution.steps is None else attribution.steps.cpu(),
    )


def _support_side(compared: Compared, question: Question, explainer: Method, dtype: torch.dtype) -> SupportSide:
    supports, found = question.supports, _on_supports(explainer, question)
    shares, biases = (explainer.split_supports or support_addends)(question)
    return SupportSide(
        cells=found.cells.masked_fill(~supports.valid[..., None, None], nan).cpu(),
        bias=found.bias.to("cpu", dtype),
        similarities=question.similarities.masked_fill(~supports.valid, nan).cpu(),
        weights=question.weights.supports.cpu(),
        shares=shares.cpu(),
        biases=biases.cpu(),
        images=compared.visible_supports,
    )


def saliency(
    encoder: Encoder,
    image: Float[Tensor, "*batch color height width"],
    *,
    method: str = "lafam",
    target: int | None = None,
    interpolation: str = "bilinear",
    options: RelaxOptions | None = None,
) -> Float[Tensor, "*batch height width"]:
    """Return the saliency, in [0, 1] and on the CPU, of one preprocessed image or a batch without any supports.

    ``method`` is label-free, ``lafam``, ``eigen-cam``, ``relax`` or ``u-relax``, or explains a class logit of an
    encoder wrapped round a classifier: ``grad-cam``, ``grad-cam++``, ``xgrad-cam``, ``hirescam`` or ``layercam``, of
    the class ``target`` (an index; None: the predicted class). ``interpolation`` is ``bilinear``, to look at, or
    ``nearest``, as in LaFAM's tables. ``options`` are those of RELAX, whose maps are of the image's size already;
    its uncertainty and stability come from ``fsl_explain.relax``.

    Raises: ``ValueError`` for a method that needs supports, a target that is not there or that is given to a label-free
    method, options given to any but RELAX, or an encoder without class logits; ``LookupError`` for an unknown method or
    interpolation; ``TypeError`` for what is no encoder or no tensor.
    """
    expect_encoder(encoder, "encoder, image")
    _check_without_supports(method, target, interpolation, options)
    batch = as_batch(image, encoder)
    size = (batch.shape[-2], batch.shape[-1])
    if method in FORMULAS:
        enlarged = class_logit.saliency(encoder, batch, method, target, interpolation).cpu()
    elif method in MASKED_AT_RANDOM:
        found = relax(encoder, batch, options=options)
        enlarged = scaled_importance(found.importance if method == "relax" else found.certain_importance, size)
        enlarged = enlarged.to(torch.promote_types(batch.dtype, torch.float32))
    else:
        enlarged = LABEL_FREE[method](embedded(encoder, batch), size, interpolation).cpu()
    return enlarged if image.dim() == 4 else enlarged[0]


def _check_without_supports(method: str, target: int | None, interpolation: str, options: RelaxOptions | None) -> None:
    label_free = (*LABEL_FREE, *MASKED_AT_RANDOM)
    known = (*label_free, *FORMULAS)
    if method not in known:
        find_method(method)
        raise Mistake(f"without supports there are {', '.join(known)}, but got {method!r}; use explain().")
    if target is not None and method in label_free:
        raise Mistake(f"{method} explains no class, but got a target; drop target.")
    if options is not None and method not in MASKED_AT_RANDOM:
        raise Mistake(f"options are those of relax and u-relax, but method is {method!r}; drop options.")
    if interpolation not in ("bilinear", "nearest"):
        raise unknown_name("interpolation", interpolation, ("bilinear", "nearest"))


def _on_supports(explainer: Method, question: Question) -> SupportAttribution:
    if question.shows_supports:
        return explainer.attribute_supports(question)
    nothing = question.query.pooled.new_full((*question.target.shape, *question.supports.valid.shape[-2:], 1, 1), nan)
    return SupportAttribution(nothing, nothing.new_full(question.target.shape, nan))


def _check_options(explainer: Method, method: str, choice: Choice) -> None:
    given = {"against": choice.against is not None, "threshold": choice.threshold is not None}
    owners = {"against": "contrast", "threshold": "verification"}
    for option, owner in owners.items():
        if given[option] and explainer.explains != owner:
            raise Mistake(f"{option} belongs to method={owner!r}, but method is {method!r}; drop {option}.")
