"""A network by name, ready to be read: what stands before and behind it, and where its weights come from."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from episodes.errors import Mistake
from fsl_explain.backbones.families.family import Member
from fsl_explain.backbones.families.own_feature import Agreement, OwnReading
from fsl_explain.backbones.layouts import FIRST
from fsl_explain.backbones.preprocessing import Preprocessing
from fsl_explain.backbones.tail import IGNORE, NETWORK
from fsl_explain.backbones.text import TextTower
from fsl_explain.backbones.tokens.reading import TokenReading
from fsl_explain.backbones.weights.loading import LoadingReport
from fsl_explain.heads.flatten import FLATTEN
from fsl_explain.heads.pooling import Pooling

RANDOM = "random weights"
MEANS, ALL_CELLS = "gap", "flatten"


@dataclass(frozen=True)
class NamedNetwork:
    """A network, and what stands before and behind it when its weights are used as they were trained.

    ``own`` and ``agreement`` are of a network of a family that is read as it reads itself.
    """

    network: nn.Module
    layer: str | None  # the one to read; None: the network returns its maps itself
    preprocessing: Preprocessing
    weights: str  # where the weights come from, for people
    pooling: str = MEANS
    head: nn.Module | None = None
    layout: str | None = FIRST  # of the maps; None: to be recognized
    own_head: bool = False  # whether the head is a part of the network too
    report: LoadingReport | None = None  # of the checkpoint
    random: tuple[str, ...] = ()  # the parts that have random weights: network, head
    member: Member | None = None
    own: OwnReading | None = None
    agreement: Agreement | None = None
    tokens: TokenReading | None = None  # how a network of tokens is read
    text: TextTower | None = None  # of the same model
    checkpoint: Path | None = None  # the file of weights that the name itself says

    @property
    def is_own_feature(self) -> bool:
        """Whether the embedding without another head was seen to be the network's own feature."""
        return self.tokens is not None or (self.agreement is not None and self.agreement.holds)

    def pooled_by(self, asked: str | Pooling | None, tail: str | None) -> str | Pooling:
        """Return the pooling that was asked for, or the network's own.

        Raises: ``ValueError`` for another one than the network's own head reads.
        """
        if asked is None:
            return MEANS if tail == NETWORK else self.pooling
        if self.own_head and self.pooling == ALL_CELLS and asked not in (ALL_CELLS, FLATTEN):
            raise Mistake(
                f"expected pooling={ALL_CELLS!r} of a network whose own layers read every cell of its maps, but got "
                f"{asked!r}; drop pooling, or say tail={IGNORE!r} where the pooled maps are meant."
            )
        return asked
