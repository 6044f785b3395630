"""The gradient of an explained score at the activation maps, and explainers made of the two.

The gradient starts at the maps, so that the network itself is not run again and its parameters are not touched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.batches import slices
from fsl_explain.classifiers import SupportSet, combined
from fsl_explain.explainers.method import Attribution, Method, SupportAttribution
from fsl_explain.explainers.normalization import max_scaled, upsample
from fsl_explain.explainers.question import Question
from fsl_explain.readouts.cells import NoPooling
from fsl_explain.readouts.read_again import ReadsAgain
from fsl_explain.traces import unflattened

CLOSE = 0.05  # of the norm of what was read; in half precision it is not the same to the last bit
AT_ONCE = 8  # images whose tokens are held while they are read again


@dataclass(frozen=True)
class ActivationMap:
    """A class activation map before its ReLU, and what each channel has to do with it."""

    channels: Float[Tensor, "*batch channel"]  # the weight of each map, or what it adds where it has no one weight
    cells: Float[Tensor, "*batch h w"]


Formula = Callable[[Float[Tensor, "*batch channel h w"], Float[Tensor, "*batch channel h w"]], ActivationMap]
"""From activation maps and the gradient of a score at them to its class activation map."""


def maps_of(question: Question) -> Float[Tensor, "*batch channel h w"]:
    """Return the maps that the gradient is taken at: the last ones that make the embedding.

    Behind the last block of a transformer, a class token and attention that pools read no patch any more, and the
    derivative by the patches would be 0; theirs are the patches that the last block reads.
    """
    trace = question.query.trace
    return trace.cells_read if isinstance(trace, ReadsAgain) else question.query.maps


def with_tokens(question: Question) -> Question:
    """Return the question with what its queries' readout reads: where only sums of it were kept, their images tell it.

    That takes one more forward pass of them.
    """
    pixels, query = question.pixels, question.query
    if pixels is None or not _has_sums_alone(question):
        return question
    images = pixels.images
    trace = pixels.encoder(images.reshape(-1, *images.shape[-3:])).trace
    return replace(question, query=replace(query, trace=unflattened(trace, images.shape[:-3])))


def _has_sums_alone(question: Question) -> bool:
    return isinstance(question.pooling, NoPooling) and not isinstance(question.query.trace, ReadsAgain)


def map_gradients(question: Question) -> Float[Tensor, "*batch channel h w"]:
    """Return the derivative of the explained score by every activation; no other parameter gets a gradient."""
    with evaluating(question.head), torch.inference_mode(False), torch.enable_grad():
        maps = maps_of(question).detach().clone().requires_grad_()
        embedding = _embeddings(question, maps)
        (gradient,) = torch.autograd.grad(explained_sum(question, embedding), maps)
    return gradient


def explained_sum(question: Question, embeddings: Float[Tensor, "query embedding"]) -> Float[Tensor, ""]:
    """Return the sum of the explained scores of all queries, in one list, had they these embeddings.

    It can be differentiated by them, and by nothing else. The list may hold the queries several times, altered.
    """
    supports, weights = _ordinary(question.supports), question.explained.class_weights.clone()
    altered = () if len(embeddings) == question.target.numel() else (-1,)
    queries = embeddings.double().reshape(*altered, *question.target.shape, embeddings.shape[-1])
    return combined(weights, question.rule.class_scores(queries, supports, question.similarity)).sum()


def _embeddings(question: Question, maps: Float[Tensor, "*batch channel h w"]) -> Float[Tensor, "query embedding"]:
    trace = question.query.trace
    if isinstance(trace, ReadsAgain):
        pooled = trace.read_again(maps)
        _expect_the_same(pooled.detach(), question.query.pooled)
        read_out: Tensor = question.head(pooled.reshape(-1, pooled.shape[-1]))
        return read_out
    maps = maps.reshape(-1, *maps.shape[-3:])
    if question.tail is not None:
        images = None if question.pixels is None else question.pixels.images.clone()
        return question.tail(maps, None if images is None else images.reshape(-1, *images.shape[-3:]))
    embeddings: Tensor = question.head(question.pooling(maps).clone())
    return embeddings


def _expect_the_same(again: Float[Tensor, "*batch pooled"], pooled: Float[Tensor, "*batch pooled"]) -> None:
    missed = (again.double() - pooled.double()).norm(dim=-1)
    if not bool((missed <= CLOSE * pooled.double().norm(dim=-1)).all()):
        raise Mistake(
            "expected the last block to write the tokens that are read out, patches as well as the class token, but it "
            "computes some of them otherwise, as blocks for the class token alone do; use exact, contrast or a method "
            "for tokens, or readout='class' or 'mean'."
        )


def gradient_cam(formula: Formula) -> Method:
    """Make an explainer of a formula; it has no receipt, because a gradient does not add up."""
    return Method(partial(_attribute, formula=formula), attribute_supports, saliency, pools=True, reads_again=True)


def _attribute(question: Question, formula: Formula) -> Attribution:
    leading = question.target.shape
    parts = [question[part] for part in slices(leading[0], AT_ONCE)] if leading and _has_sums_alone(question) else []
    drawn = [_drawn(with_tokens(part), formula) for part in parts or [question]]
    channels, cells = (torch.cat(found) if parts else found[0] for found in zip(*drawn, strict=True))
    return Attribution(channels.double(), cells.clamp(min=0), cells.new_zeros(leading))


def _drawn(question: Question, formula: Formula) -> tuple[Tensor, Tensor]:
    found = formula(maps_of(question), map_gradients(question))
    return found.channels, found.cells


def attribute_supports(question: Question) -> SupportAttribution:
    """Draw nothing on the supports: the gradient is taken at the query's maps."""
    shape = (*question.target.shape, *question.supports.valid.shape[-2:], *question.query.maps.shape[-2:])
    zeros = question.query.maps.new_zeros(shape)
    return SupportAttribution(zeros, zeros.new_zeros(question.target.shape))


def saliency(
    cells: Float[Tensor, "*batch h w"], size: tuple[int, int], interpolation: str = "bilinear"
) -> Float[Tensor, "*batch height width"]:
    """Enlarge the positive part of the cells, then divide by the maximum."""
    return max_scaled(upsample(cells.clamp(min=0), size, interpolation))


def _ordinary(supports: SupportSet) -> SupportSet:
    """Return supports that a gradient may pass through, also where they were embedded in inference mode."""
    unlabeled = None if supports.unlabeled is None else supports.unlabeled.clone()
    return SupportSet(supports.embeddings.clone(), supports.valid.clone(), supports.classes, None, unlabeled)
