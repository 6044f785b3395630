"""A head that every cell passes alone, for decisions over local features."""

from collections.abc import Iterable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.heads.flatten import cells_of, flat
from fsl_explain.heads.linearization import Linearization, layers_of, linearize, stages_of
from fsl_explain.heads.projection import Center
from fsl_explain.heads.stages import Stage


class CellHead(nn.Module):
    """Applies a head to the features of each cell; both sides lie behind each other, channel after channel.

    ``channels`` is the number of values of a cell that enter the head. Behind global average pooling a linear head
    gives the mean of what this one gives the cells.
    """

    def __init__(self, head: nn.Module, channels: int) -> None:
        super().__init__()
        self.head: nn.Module = head
        self.channels: int = channels

    def forward(self, values: Float[Tensor, "*batch flat"]) -> Float[Tensor, "*batch _flat"]:
        """Return the head's outputs for all cells."""
        cells = cells_of(values, self.channels)
        found = self.head(cells.reshape(-1, self.channels))  # as one batch, as layers expect
        return flat(found.reshape(*cells.shape[:-1], -1))


def cell_head(head: nn.Module, channels: int | None = None) -> nn.Module:
    """Return a head for each cell alone; none for none. ``channels`` is what it takes of a cell, where that is known.

    Raises: ``ValueError`` for a head none of whose layers says how many channels it takes.
    """
    if isinstance(head, CellHead):
        return head
    layers = _doing(head)
    return CellHead(head, channels or _channels(layers)) if layers else nn.Identity()


def keeps_cells_apart(head: nn.Module) -> bool:
    """Say whether a head over local features behind each other does nothing, or something with each cell alone."""
    return all(isinstance(layer, CellHead) for layer in _doing(head))


def _doing(head: nn.Module) -> list[nn.Module]:
    return [layer for layer in layers_of([head]) if not isinstance(layer, nn.Identity)]


def _channels(layers: Iterable[nn.Module]) -> int:
    for layer in layers:
        if isinstance(layer, nn.Linear):
            return layer.in_features
        if isinstance(layer, nn.BatchNorm1d):
            return layer.num_features
        if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
            return layer.normalized_shape[-1]
        if isinstance(layer, Center):
            return layer.mean.shape[-1]
    raise Mistake(
        "decisions over local features put the head on each cell, but no layer of this head says how many channels it "
        "takes; use an encoder without a head, or fsl_explain.heads.CellHead(head, channels)."
    )


@dataclass(frozen=True)
class CellStage:
    """A head frozen at the values of each cell, as one stage."""

    head: Linearization
    channels: int  # that enter
    out: int  # that leave

    def forward(self, values: Float[Tensor, "*batch flat"]) -> Float[Tensor, "*batch _flat"]:
        """Apply the frozen head to each cell."""
        cells = cells_of(values, self.channels)
        for stage in self.head.stages:
            cells = stage.forward(cells)
        return flat(cells)

    def push(self, values: Float[Tensor, "*batch vector flat"]) -> Float[Tensor, "*batch vector _flat"]:
        """Apply the linear part of each cell to several vectors of each image."""
        by_cell = cells_of(values, self.channels).transpose(-3, -2)  # (…, cell, vector, channel)
        return flat(self.head.push_forward(by_cell).transpose(-3, -2))

    def transpose(self, gradient: Float[Tensor, "*queries flat"]) -> Float[Tensor, "*queries _flat"]:
        """Apply the transpose of the linear part of each cell."""
        return flat(self.head.pull_back(cells_of(gradient, self.out)))


@stages_of.register
def _(layer: CellHead, values: Tensor) -> list[Stage]:
    cells = cells_of(values, layer.channels)
    frozen = linearize(layer.head, cells)
    found = cells[..., :1, :]
    for stage in linearize(layer.head, found).stages:
        found = stage.forward(found)
    return [CellStage(frozen, layer.channels, found.shape[-1])]
