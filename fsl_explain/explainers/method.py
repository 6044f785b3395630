"""What an explainer is, and what it answers: one attribution of each side of a question."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor

from fsl_explain.encoder import Encoder
from fsl_explain.explainers.explained_score import Quantity
from fsl_explain.explainers.question import Question
from fsl_explain.heads import Pooling
from fsl_explain.readouts.cells import NoPooling
from fsl_explain.similarities import Similarity, traits_of


@dataclass(frozen=True)
class Attribution:
    """The query side of an answer. NaN where a method does not split the score."""

    contributions: Float[Tensor, "*batch channel"]
    cells: Float[Tensor, "*batch h w"]
    bias: Float[Tensor, "*batch"]
    named: Mapping[str, Float[Tensor, "*batch"]] = field(default_factory=dict)  # parts of the bias that have a name
    steps: Int[Tensor, "*batch"] | None = None  # of an integration; None: there was none


@dataclass(frozen=True)
class SupportAttribution:
    """The support side of an answer. Padding and supports without a say are 0."""

    cells: Float[Tensor, "*batch way shot h w"]
    bias: Float[Tensor, "*batch"]


def _expect_nothing(_encoder: Encoder) -> None:
    """Take every encoder."""


Splits = Callable[[Question], tuple[Float[Tensor, "*batch way shot"], Float[Tensor, "*batch way shot"]]]
"""From a question to the part of each support's addend that the query's cells hold, and the part that none holds."""


@dataclass(frozen=True)
class Method:
    """An explainer: how it attributes each side, and how its cells become a saliency of image size."""

    attribute: Callable[[Question], Attribution]
    attribute_supports: Callable[[Question], SupportAttribution]
    saliency: Callable[[Tensor, tuple[int, int]], Tensor]
    explains: Quantity = "score"  # which number of the decision is explained
    uses_supports: bool = True  # False: the map depends on the query alone
    signed: bool = False  # the saliency has a sign, and no scale
    perturbs: bool = False  # asks the network again, so the question needs the images' pixels
    differentiates: bool = False  # goes back through the network to the pixels, from the question's own head
    needs_tokens: bool = False  # reads what the tokens of a vision transformer do
    addends: str = "contributions"  # what its numbers of the channels are called
    ranks: bool = False  # these numbers rank the channels, and are not made to add up to the score
    by_channel: bool = False  # needs a similarity that is a sum over channels
    of_one_value_a_map: bool = False  # needs embeddings of one value a map, not of one a cell
    pools: bool = False  # pools other maps than the image's, so the embedding must be pooled from maps
    reads_again: bool = False  # where a token is read out, reads it again from its patches, of the image if need be
    draws_finer: bool = False  # its cells can be carried back to finer maps
    split_supports: Splits | None = None  # what its cells hold of each support's addend; None: those of the last maps
    expects: Callable[[Encoder], None] = _expect_nothing  # raises for an encoder that it has no answer for
    name: str = ""  # of a method that is no entry of METHODS, for the explanation
    tabled: "Method | None" = None  # the form that a paper measures, where it differs from the one for looking at

    def takes(self, similarity: Similarity) -> bool:
        """Say whether decisions by a similarity can be explained: FAM's need one that is a sum over channels."""
        return not self.by_channel or traits_of(similarity).sums_over_channels

    @property
    def is_of_pooled_maps(self) -> bool:
        """Whether it has no answer for an embedding that is no pooling of the maps, such as a class token."""
        return self.by_channel or (self.pools and not self.reads_again)

    def asks_for_pixels(self, pooling: Pooling) -> bool:
        """Say whether a question about kept features has to hold the images: it asks the network again.

        Kept features hold what each patch wrote, not the tokens, from which a method of derivatives reads again.
        """
        return self.perturbs or (self.reads_again and isinstance(pooling, NoPooling))

    @property
    def in_tables(self) -> "Method":
        """The form of this method that is measured."""
        return self if self.tabled is None else self.tabled

    @property
    def asks_again_and_again(self) -> bool:
        """Whether it shows the whole encoder many altered images of each one, as RELAX does."""
        return self.perturbs and not (self.needs_tokens or self.differentiates)

    @property
    def has_rivals(self) -> bool:
        """Whether what it explains compares a class with others."""
        return self.explains == "contrast"

    @property
    def needs_no_option(self) -> bool:
        """Whether a decision alone says what it explains: a class's score, or its lead."""
        return self.explains in ("score", "contrast")
