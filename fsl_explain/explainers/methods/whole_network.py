"""The explained score as a function of the queries' pixels: derivatives go back through the whole network.

The network runs once more, under its own turn and in eval mode, with derivatives by the pixels recorded; nothing of it
is hooked, replaced or changed, and no parameter gets a gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.backbones.placement import deciding_tensor
from fsl_explain.backbones.wrappers import without_compilation
from fsl_explain.batches import slices
from fsl_explain.devices import at_hand, in_full_precision
from fsl_explain.encoder import Encoder
from fsl_explain.explainers.method import Attribution
from fsl_explain.explainers.methods.altered_queries import pixels_of
from fsl_explain.explainers.methods.map_gradients import explained_sum
from fsl_explain.explainers.question import Question
from fsl_explain.scales import at_side

AT_ONCE = 8  # images whose graph is held

Asked = Callable[[Question, Float[Tensor, "image color height width"]], Float[Tensor, "image h w"]]
"""From a question and the images of its queries, in one list, to their cells."""


@dataclass(frozen=True)
class Seen:
    """One forward pass of images, a part of one graph: their last maps, at one scale alone, and their embeddings."""

    maps: Float[Tensor, "image channel h w"] | None
    embeddings: Float[Tensor, "image embedding"]


def ask_in_parts(question: Question, ask: Asked) -> Attribution:
    """Ask about a few queries at a time; no channel of the last maps is accounted for, and nothing adds up.

    Raises: ``ValueError`` where only features were kept, or for an encoder of tokens.
    """
    encoder = maps_encoder(question)
    leading, undefined = question.target.shape, question.undefined
    parts = [question[part] for part in slices(leading[0], AT_ONCE)] if leading else [question]
    with torch.inference_mode(False), evaluating(encoder.network, question.head), torch.enable_grad():
        found = [ask(part, images_of(part)).detach() for part in parts]
    cells = at_hand(torch.cat(found))
    return Attribution(undefined, cells.reshape(*leading, *cells.shape[-2:]).to(question.query.maps), undefined[..., 0])


def maps_encoder(question: Question) -> Encoder:
    """Return the encoder that embeds the queries. Raises: ``ValueError`` without pixels, or for one of tokens."""
    encoder = pixels_of(question).encoder
    expect_maps(encoder)
    return encoder


def expect_maps(encoder: Encoder) -> None:
    """Refuse an encoder whose cells are tokens. Raises: ``ValueError``."""
    single: Encoder = encoder if encoder.single is None else encoder.single
    if single.tokens is not None:
        raise Mistake(
            f"this method goes back through a convolutional network, but the cells of {encoder.description} are "
            "tokens; use exact, contrast or a method for tokens, such as chefer."
        )


def images_of(question: Question) -> Float[Tensor, "image color height width"]:
    """Return the queries' images in one list, as leaves of a graph."""
    images = pixels_of(question).images
    return images.reshape(-1, *images.shape[-3:]).detach().clone().requires_grad_()


def seen(question: Question, images: Float[Tensor, "image color height width"]) -> Seen:
    """Embed images as the question's queries were, with all operations recorded."""
    encoder: Encoder = pixels_of(question).encoder
    scales = encoder.scales
    if scales is None:
        maps, pooled = _pooled(encoder, question, images)
        return Seen(maps, question.head(pooled.clone()))
    single: Encoder = encoder.single
    at_each = [_pooled(single, None, at_side(images, side))[1] for side in scales.sides]
    return Seen(None, question.head(torch.cat(at_each, dim=-1)))


def gradients(question: Question, images: Float[Tensor, "image color height width"]) -> Tensor:
    """Return the derivative of the explained scores by the pixels; of one query there may be several images."""
    (found,) = torch.autograd.grad(explained_score(question, seen(question, images)), images)
    return found


def explained_score(question: Question, found: Seen) -> Float[Tensor, ""]:
    """Return the sum of the explained scores of all images.

    Raises: ``ValueError`` where a query has none, or no derivative reaches it.
    """
    score = explained_sum(question, found.embeddings)
    if not bool(torch.isfinite(score)):
        raise Mistake(
            "a query has no neighbor of the explained class left, so its score is minus infinity; raise k, or use "
            "rule='mean-similarity'."
        )
    return _depending(score)


def expect_python(question: Question, what: str) -> None:
    """Refuse a network whose parts run unseen, where ``what`` has to be seen. Raises: ``ValueError``."""
    encoder = maps_encoder(question)
    if any(isinstance(part, torch.jit.ScriptModule) for part in encoder.network.modules()):
        raise Mistake(
            f"expected a network in Python, so that {what} can be seen, but parts of {encoder.description} are "
            "TorchScript; wrap the network before torch.jit, or use exact or contrast."
        )


@dataclass(frozen=True)
class WholeNetwork:
    """From the pixels of images to their embeddings, as what an integral goes along."""

    question: Question

    def __call__(
        self,
        maps: Float[Tensor, "image channel h w"],
        images: Float[Tensor, "image color height width"] | None = None,  # noqa: ARG002 - the signature of every tail
    ) -> Float[Tensor, "image embedding"]:
        """Return the embeddings of images; derivatives by them are recorded."""
        with evaluating(pixels_of(self.question).encoder.network, self.question.head), torch.enable_grad():
            embeddings = at_hand(seen(self.question, maps).embeddings)
            return _depending(embeddings) if maps.requires_grad else embeddings

    @property
    def needs_images(self) -> bool:
        """It does not: they are what it is given."""
        return False

    @property
    def dtype(self) -> torch.dtype:
        """That of the network."""
        decides = deciding_tensor(pixels_of(self.question).encoder.network)
        return torch.float32 if decides is None else decides.dtype


def _depending(values: Tensor) -> Tensor:
    if not values.requires_grad:
        raise Mistake(
            "expected a score that depends on the pixels, but no derivative comes back to them; use exact or contrast, "
            "or a network that runs without torch.no_grad of its own."
        )
    return values


def _pooled(encoder: Encoder, question: Question | None, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maps and what is pooled of them, as the question does it or else as the encoder does."""
    tail, network = encoder.reading.tail, encoder.network
    with without_compilation(network):
        read: Tensor = encoder.run(encoder.reading.maps, images)
    with torch.autocast(read.device.type, enabled=False):
        maps = in_full_precision(at_hand(read))
        pooled: Tensor = tail.pooled(maps, encoder.pooling if question is None else question.pooling)
    tail.outcome = None  # which would keep the graph
    return maps, pooled
