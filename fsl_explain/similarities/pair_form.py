"""A comparison of two images by pairs of their cells, with the weight of each pair frozen.

Embeddings are local features behind each other, channel after channel, as ``Flattening`` makes them: the features of
D cells are D·J numbers. Notation: x_p is a cell of the query, y_r one of a support, F_pr the frozen weight of a pair.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.heads.flatten import cells_of, flat
from fsl_explain.similarities.form import Form


@dataclass(frozen=True)
class PairForm:
    """A similarity S = Σ_pr F_pr x_pᵀ M y_r + Σ_p u_p·x_p + Σ_r v_r·y_r + k, linear in either side.

    It answers what a ``Form`` does, of local features that lie behind each other, ``channels`` numbers a cell. ``flow``
    is F, ``metric`` M, where None is the identity; ``query_slope`` is u, ``support_slope`` v and ``constant`` k, 0
    where they are None. ``beside`` are vectors b_p, one a cell of the query, that add Σ_p F_pr b_p to v_r: what the
    supports' cells make with them stands at a cell of the query, where ``at_cells`` gives it, though the query's own
    features have no part in it. Where it ``is_centered``, the mean over channels is first subtracted from each cell of
    both sides. Dimensions of pairs that are the same for all may have size 1.
    """

    channels: int
    flow: Float[Tensor, "*#pairs p r"]
    metric: Float[Tensor, "channel channel"] | None = None
    query_slope: Float[Tensor, "*#pairs p channel"] | None = None
    support_slope: Float[Tensor, "*#pairs r channel"] | None = None
    constant: Float[Tensor, "*#pairs"] | None = None
    beside: Float[Tensor, "*#pairs p channel"] | None = None
    is_centered: bool = False

    @classmethod
    def of_pairs(
        cls, weights: Float[Tensor, "*pairs p r"], form: Form, query: Float[Tensor, "*#pairs p channel"]
    ) -> "PairForm":
        """Return Σ_pr T_pr s(x_p, y_r) for weights T and the form of every pair (…, p, r) of cells.

        ``query`` are the cells of the query, of which the number of channels is read.
        """
        return cls(
            query.shape[-1],
            weights * form.scale,
            form.metric,
            None if form.query_slope is None else _summed(weights, form.query_slope, -2),
            None if form.support_slope is None else _summed(weights, form.support_slope, -3),
            None if form.constant is None else (weights * form.constant).sum(dim=(-2, -1)),
        )

    def seen_centered(self) -> "PairForm":
        """Return the same form of features from which each cell's mean over channels is subtracted first."""
        slopes = (self.query_slope, self.support_slope)
        ours, theirs = (None if slope is None else _centered(slope) for slope in slopes)
        return replace(self, query_slope=ours, support_slope=theirs, is_centered=True)

    def value(
        self, query: Float[Tensor, "*#pairs flat"], support: Float[Tensor, "*#pairs _flat"]
    ) -> Float[Tensor, "*pairs"]:
        """Add all terms up."""
        return (self.on_support(query) * support).sum(dim=-1) + self.along_query(query)

    def on_query(self, support: Float[Tensor, "*#pairs flat"]) -> Float[Tensor, "*pairs _flat"]:
        """Return what the query's features are multiplied with, F M y + u."""
        found = self.flow @ self._moved(cells_of(support, self.channels))
        return flat(found if self.query_slope is None else found + self.query_slope)

    def on_support(self, query: Float[Tensor, "*#pairs flat"]) -> Float[Tensor, "*pairs _flat"]:
        """Return what the support's features are multiplied with, Fᵀ (Mᵀ x + b) + v."""
        cells = self._moved(cells_of(query, self.channels), to_support=True)
        found = self.flow.mT @ (cells if self.beside is None else cells + self.beside)
        return flat(found if self.support_slope is None else found + self.support_slope)

    def along_query(self, query: Float[Tensor, "*#pairs flat"]) -> Float[Tensor, "*#pairs"]:
        """Return u·x + k: what the support has no part in."""
        return self._rest(self.query_slope, query)

    def along_support(self, support: Float[Tensor, "*#pairs flat"]) -> Float[Tensor, "*#pairs"]:
        """Return (v + Fᵀ b)·y + k: what the query's features have no part in."""
        rest, placed = self._rest(self.support_slope, support), self.at_cells(support)
        return rest if placed is None else rest + placed.sum(dim=(-2, -1))

    def at_cells(self, support: Float[Tensor, "*#pairs flat"]) -> Float[Tensor, "*pairs p channel"] | None:
        """Return b_p ⊙ Σ_r F_pr y_r, the part of ``along_support`` that stands at the query's cells, if any."""
        return None if self.beside is None else self.beside * (self.flow @ cells_of(support, self.channels))

    def reference(
        self, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot flat"]
    ) -> Float[Tensor, "*batch _flat"]:
        """Return g = Σ_k w_k (F_k M y_k + u_k), one vector per query whatever the number of supports."""
        cells = self._moved(cells_of(supports, self.channels)).flatten(-4, -2)
        shape = torch.broadcast_shapes(weights.shape, self.flow.shape[:-2])
        flow = self.flow.expand(*shape, *self.flow.shape[-2:]) * weights[..., None, None]
        found: Tensor = flow.movedim(-2, -4).flatten(start_dim=-3) @ cells
        if self.query_slope is not None:
            found = found + (weights[..., None, None] * self.query_slope).sum(dim=(-4, -3))
        return flat(found)

    def with_query(
        self, part: Float[Tensor, "*batch flat"], supports: Float[Tensor, "*episodes way shot _flat"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return the products of the references with a part of the query's features."""
        return (self.on_query(supports) * part[..., None, None, :]).sum(dim=-1)

    def with_supports(
        self, query: Float[Tensor, "*batch flat"], parts: Float[Tensor, "*episodes way shot _flat"]
    ) -> Float[Tensor, "*batch way shot"]:
        """Return the products with a part of each support's features."""
        return (self.on_support(query[..., None, None, :]) * parts).sum(dim=-1)

    def table(
        self, left: Float[Tensor, "*#pairs row flat"], right: Float[Tensor, "*#pairs column _flat"]
    ) -> Float[Tensor, "*pairs row column"]:
        """Return the form of the sums of both sides' rows as one number for each pair of rows.

        The terms in which one side, or both, have no part are in the last column, the last row and the last number;
        what stands at a cell of the query is in that cell's row, where the rows are the cells and a last one.
        """
        ours, theirs = cells_of(left, self.channels), cells_of(right, self.channels)
        met = self.flow[..., None, :, :] @ self._moved(theirs)  # (…, column, p, channel)
        found: Tensor = ours.flatten(start_dim=-2) @ met.flatten(start_dim=-2).mT
        if self.query_slope is not None:
            found[..., -1] += (ours * self.query_slope[..., None, :, :]).sum(dim=(-2, -1))
        if self.support_slope is not None:
            found[..., -1, :] += (theirs * self.support_slope[..., None, :, :]).sum(dim=(-2, -1))
        if self.constant is not None:
            found[..., -1, -1] += self.constant
        if self.beside is not None:
            placed = (self.beside[..., None, :, :] * (self.flow[..., None, :, :] @ theirs)).sum(dim=-1).mT
            if placed.shape[-2] + 1 == found.shape[-2]:
                found[..., :-1, :] += placed
            else:
                found[..., -1, :] += placed.sum(dim=-2)
        return found

    def at(self, chosen: tuple[slice, slice]) -> "PairForm":
        """Return the form of some of the supports, ``chosen`` by a slice of the classes and one of their shots."""
        slopes = (self.query_slope, self.support_slope, self.beside)
        ours, theirs, beside = (None if one is None else _chosen(one, chosen, 2) for one in slopes)
        return replace(
            self,
            flow=_chosen(self.flow, chosen, 2),
            query_slope=ours,
            support_slope=theirs,
            constant=None if self.constant is None else _chosen(self.constant, chosen, 0),
            beside=beside,
        )

    @property
    def moves_with_query(self) -> bool:
        """Whether terms hold values of the query frozen."""
        return self.query_slope is not None

    @property
    def moves_with_support(self) -> bool:
        """Whether terms hold values of the support frozen."""
        return self.support_slope is not None or self.beside is not None

    def _moved(self, cells: Tensor, *, to_support: bool = False) -> Tensor:
        """Apply M to cells of a support, or its transpose to those of the query; centering is a projection."""
        seen = _centered(cells) if self.is_centered else cells
        if self.metric is None:
            return seen
        moved = seen @ (self.metric if to_support else self.metric.T)
        return _centered(moved) if self.is_centered else moved

    def _rest(self, slope: Tensor | None, values: Tensor) -> Tensor:
        rest = self.flow.new_zeros(self.flow.shape[:-2]) if self.constant is None else self.constant
        return rest if slope is None else rest + (slope * cells_of(values, self.channels)).sum(dim=(-2, -1))


def _centered(cells: Tensor) -> Tensor:
    return cells - cells.mean(dim=-1, keepdim=True)


def _summed(weights: Tensor, slopes: Tensor, side: int) -> Tensor:
    """Return Σ T_pr slope_pr over the cells of one side; slopes that are the same for all of them may have size 1."""
    if slopes.shape[side] == 1:
        return weights.sum(dim=side + 1)[..., None] * slopes.squeeze(side)
    return (weights[..., None] * slopes).sum(dim=side)


def _chosen(values: Tensor, chosen: tuple[slice, slice], behind: int) -> Tensor:
    dimensions = values.dim() - behind
    places = [slice(None)] * dimensions
    for at, place in zip((dimensions - 2, dimensions - 1), chosen, strict=True):
        if at >= 0 and values.shape[at] > 1:
            places[at] = place
    return values[tuple(places)]
