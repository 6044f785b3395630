"""The fewest cells of a query whose removal or replacement lets another class overtake the decided one.

Notation: a is the decided class and b a rival. With gains frozen at the query, the lead of a over b is Σ_p m_p plus
a bias, m_p the share of cell p; s_r is what cell r of a support would add in the place of a query cell. Removing a
cell changes the lead by -m_p, replacing it by s_r - m_p.

Under global average pooling, an affine head and a rule that is linear in the embedding, the lead after any edit
has the sign of that sum: a norm that divides the embedding divides the scores of both classes, and is positive. The
fewest cells are then those with the largest m_p, replaced by those with the smallest s_r. A tie is no overtaking,
nor is a lead within rounding.

Where a trace says who wrote the pooled values, an edit takes away what the cells wrote and puts what the donor's cells
wrote in its place: attention and all other gains of the network stay as they are, and what no cell wrote stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.capture import evaluating
from fsl_explain.classifiers import is_linear_in_embeddings
from fsl_explain.devices import precise
from fsl_explain.encoder import Features
from fsl_explain.explainers.methods.exact import named_parts
from fsl_explain.explainers.question import Question, expect_addends
from fsl_explain.heads import Center, L2Normalize, linearize
from fsl_explain.heads.pooling import is_linear_in_maps
from fsl_explain.similarities import effective_reference, traits_of

ROUNDING = 16  # units of the maps' precision, relative to the absolute terms of a lead
FIRST_DECIDED = 16  # edits that are decided in the first batch, which is doubled: of most queries a few cells suffice


@dataclass(frozen=True)
class CellEdit:
    """Cells of one query that are removed, or replaced one by one, in order, and what follows from it.

    Cells are numbered row by row; those of the donor's supports shot after shot.
    """

    rival: int  # the class that overtakes
    donor: int | None  # the class whose cells take their place; None: they are removed
    cells: Int[Tensor, "edited"]
    sources: Int[Tensor, "edited"] | None
    scores: Float[Tensor, "way"]  # of the decision after the edit


@dataclass(frozen=True)
class Leads:
    """The lead of the decided class over each rival, as a sum over cells with gains frozen at the query."""

    rivals: Int[Tensor, "rival"]
    cells: Float[Tensor, "rival cells"]  # m_p
    in_place: Float[Tensor, "rival donor donated"]  # s_r, infinite where there is no such support; 0 for removal
    lead: Float[Tensor, "rival"]  # before any edit
    unscaled: Float[Tensor, "rival"]  # the part that no norm of the embedding divides
    rounding: Float[Tensor, "rival"]  # a smaller lead has no sign

    def gained(self) -> Float[Tensor, "rival donor count"]:
        """Return the lead of each rival over the decided class after 1, 2, … edits, the best first."""
        mine = self.cells.sort(dim=-1, descending=True).values[:, None]
        theirs = self.in_place.sort(dim=-1).values[..., : mine.shape[-1]]
        change = (theirs - mine[..., : theirs.shape[-1]]).cumsum(dim=-1)
        return -(self.lead[:, None, None] + change)


def leads_over(question: Question, rivals: Int[Tensor, "rival"], donors: Int[Tensor, "donor"] | None) -> Leads:
    """Split the lead of the decided class over each rival, over the query's cells and those of the donors' supports.

    Without donors the cells are removed. A rival without any vote leaves the decided class's own score.
    """
    expect_addends(question, "a search for the fewest cells")
    query, supports, way = question.query, question.supports, len(question.supports.classes)
    signs = (F.one_hot(question.target, way) - F.one_hot(rivals, way)).to(query.embedding)
    scores = question.rule.class_scores(query.embedding, supports, question.similarity)
    signs = signs.masked_fill(scores.isneginf(), 0)
    weights = question.rule.weights(signs, query.embedding.expand(len(rivals), -1), supports, question.similarity)
    form, compared = question.form, question.compared.embeddings
    reference = sum(weights.slopes.values(), effective_reference(form, weights.supports, compared))
    head = linearize(question.head, query.pooled)
    pulled = head.pull_back(reference)
    cells = question.spread(_in_float64(query), pulled).double().flatten(start_dim=1)
    scaled, beside = reference * head.offset, weights.supports * form.along_support(compared)
    of_no_cell = torch.stack([pulled.new_zeros(len(pulled)), *_along(named_parts(query), pulled)], dim=-1)
    scaled = torch.cat([scaled, of_no_cell], dim=-1)
    constants = torch.stack([signs.new_zeros(len(rivals)), *weights.constants.values()], dim=-1)
    unscaled = beside.sum(dim=(-2, -1)) + constants.sum(dim=-1)
    addends = torch.cat([cells, scaled, beside.flatten(start_dim=-2), constants], dim=-1)
    return Leads(
        rivals=rivals,
        cells=cells,
        in_place=torch.zeros_like(cells)[:, None] if donors is None else _in_place(question, pulled, donors),
        lead=cells.sum(dim=-1) + scaled.sum(dim=-1) + unscaled,
        unscaled=unscaled,
        rounding=ROUNDING * torch.finfo(query.maps.dtype).eps * addends.abs().sum(dim=-1),
    )


def sums_tell_the_decision(question: Question, leads: Leads) -> bool:
    """Say whether the lead after any edit has the sign of its sum, so that the closed form holds."""
    affine, normalized = _kind_of(question.head)
    traits = traits_of(question.similarity)
    linear = is_linear_in_embeddings(question.rule) and traits.is_affine_in_query
    linear = linear and (question.query.trace is not None or is_linear_in_maps(question.pooling))
    if not (affine and linear):
        return False
    return bool((leads.unscaled.abs() <= leads.rounding).all()) or not (normalized or traits.divides_by_norm)


def fewest_cells(question: Question, leads: Leads, donors: Int[Tensor, "donor"] | None) -> CellEdit | None:
    """Return the fewest cells by the closed form, or None where no edit lets a rival overtake.

    Of several with as few, the one whose donor overtakes; of those, the one with the largest lead.
    """
    gained = leads.gained()
    overtakes = gained > leads.rounding[:, None, None]
    counts = torch.where(overtakes.any(dim=-1), overtakes.int().argmax(dim=-1) + 1, gained.shape[-1] + 1)
    least = int(counts.amin())
    if least > gained.shape[-1]:
        return None
    best = counts == least
    if donors is not None:
        own = best & (leads.rivals[:, None] == donors)
        best = own if bool(own.any()) else best
    place = int(gained[..., least - 1].masked_fill(~best, -torch.inf).argmax())
    row, column = divmod(place, gained.shape[1])
    cells, sources = _order(leads, row, column)
    donor, given = (None, None) if donors is None else (int(donors[column]), sources[:least])
    scores = _scores_of(question, _pooled_edit(question, cells[:least], given, donor))[0]
    return CellEdit(int(leads.rivals[row]), donor, cells[:least], given, scores)


def shortest_prefix(
    question: Question, leads: Leads, donors: Int[Tensor, "donor"] | None, named: bool
) -> CellEdit | None:
    """Return the shortest prefix of the cells in the order of their shares after which the decision is another.

    Prefixes are pooled and decided again, up to one that does or the length of the best; each rival gives its own
    cells. Where the rival is ``named`` it has to overtake itself. None where no prefix does.
    """
    found: list[tuple[tuple[int, bool, float], CellEdit]] = []
    for row, rival in enumerate(leads.rivals.tolist()):
        cells, sources = _order(leads, row, 0 if donors is None else row)
        longest = min((rank[0] + 1 for rank, _ in found), default=len(cells))
        donor, given = (None, None) if donors is None else (rival, sources[:longest])
        pooled = _pooled_prefixes(question, cells[:longest], given, donor)
        first = _first_overtaken(question, pooled, rival if named else None)
        if first is not None:
            last, winner, gain, scores = first
            kept = None if given is None else given[: last + 1]
            found.append(((last, winner != donor, -gain), CellEdit(winner, donor, cells[: last + 1], kept, scores)))
    return min(found, key=lambda candidate: candidate[0])[1] if found else None


def _first_overtaken(
    question: Question, pooled: Float[Tensor, "count channel"], rival: int | None
) -> tuple[int, int, float, Float[Tensor, "way"]] | None:
    """Return the first that another class decides, that class, by how much it leads, and the scores."""
    start, size = 0, FIRST_DECIDED
    while start < len(pooled):
        scores = _scores_of(question, pooled[start : start + size])
        gains, winners = _leads_of_others(scores, int(question.target), rival)
        unit = ROUNDING * torch.finfo(question.query.maps.dtype).eps
        overtakes = gains > unit * torch.where(scores.isfinite(), scores, 0).abs().amax(dim=-1)
        if bool(overtakes.any()):
            at = int(overtakes.int().argmax())
            return start + at, int(winners[at]), float(gains[at]), scores[at]
        start, size = start + size, 2 * size
    return None


def embeddings_without(question: Question, cells: Int[Tensor, "count"]) -> Float[Tensor, "count channel"]:
    """Return the query's embedding, in float64, with the first, the first two, … of some cells removed."""
    return _embedded(question, _pooled_prefixes(question, cells, None, None))


def _in_place(
    question: Question, pulled: Float[Tensor, "rival channel"], donors: Int[Tensor, "donor"]
) -> Float[Tensor, "rival donor donated"]:
    """Return s_r: the share of each cell of the donors' supports, were it one of the query's."""
    features = _with_maps(question)[donors]
    each = pulled[:, None, None].expand(-1, *features.pooled.shape[:2], -1)
    cells = question.spread(_in_float64(features), each).double()
    many, few = features.maps[0, 0, 0].numel(), question.query.maps[0].numel()
    same_average = many / few if features.trace is None else 1.0
    absent = ~question.supports.valid[donors][..., None, None]
    return (cells * same_average).masked_fill(absent, torch.inf).flatten(start_dim=-3)


def _order(leads: Leads, row: int, column: int) -> tuple[Int[Tensor, "count"], Int[Tensor, "count"]]:
    """Return the cells of the query from the largest share to the smallest, and which cells take their place."""
    sources = leads.in_place[row, column].argsort(stable=True)
    there_are = int(leads.in_place[row, column].isfinite().sum())
    count = min(there_are, leads.cells.shape[-1])
    return leads.cells[row].argsort(descending=True, stable=True)[:count], sources[:count]


def _edited_maps(
    question: Question, cells: Int[Tensor, "edited"], sources: Int[Tensor, "edited"] | None, donor: int | None
) -> Float[Tensor, "channel h w"]:
    maps = question.query.maps
    if sources is None:
        values = maps.new_zeros(len(maps), len(cells))
    else:
        values = support_maps(question)[donor].movedim(1, 0).flatten(start_dim=1)[:, sources]
    return maps.flatten(start_dim=1).index_copy(1, cells, values).reshape(maps.shape)


def _prefixes(
    question: Question, cells: Int[Tensor, "count"], sources: Int[Tensor, "count"] | None, donor: int | None
) -> Float[Tensor, "count channel h w"]:
    """Return the maps after 1, 2, … edits."""
    maps = question.query.maps
    count = len(cells)
    turn = torch.full((maps[0].numel(),), count, device=maps.device)
    turn[cells] = torch.arange(count, device=maps.device)
    done = turn.reshape(maps.shape[1:]) <= torch.arange(count, device=maps.device)[:, None, None]
    return torch.where(done[:, None], _edited_maps(question, cells, sources, donor), maps)


def _pooled_prefixes(
    question: Question, cells: Int[Tensor, "count"], sources: Int[Tensor, "count"] | None, donor: int | None
) -> Float[Tensor, "count channel"]:
    """Return the pooled values after 1, 2, … edits."""
    query = question.query
    if query.trace is None:
        return question.pooling(_prefixes(question, cells, sources, donor))
    change = -query.trace.addends().flatten(start_dim=1).double()[:, cells]
    if sources is not None:
        given = _with_maps(question)[donor].trace
        assert given is not None  # one encoder made both
        change = change + given.addends().double().movedim(1, 0).flatten(start_dim=1)[:, sources]
    return query.pooled.double() + change.cumsum(dim=-1).mT


def _pooled_edit(
    question: Question, cells: Int[Tensor, "edited"], sources: Int[Tensor, "edited"] | None, donor: int | None
) -> Float[Tensor, "1 channel"]:
    """Return the pooled values after all edits."""
    if question.query.trace is None:
        return question.pooling(_edited_maps(question, cells, sources, donor)[None])
    return _pooled_prefixes(question, cells, sources, donor)[-1:]


def _scores_of(question: Question, pooled: Float[Tensor, "count channel"]) -> Float[Tensor, "count way"]:
    """Decide by pooled values as the encoder and the rule do."""
    embedding = _embedded(question, pooled)
    return question.rule.decision_scores(embedding, question.supports, question.similarity)


def _embedded(question: Question, pooled: Float[Tensor, "count channel"]) -> Float[Tensor, "count embedding"]:
    with evaluating(question.head):
        return precise(question.head(pooled.to(question.query.maps.dtype)))


def _leads_of_others(
    scores: Float[Tensor, "count way"], target: int, rival: int | None
) -> tuple[Float[Tensor, "count"], Int[Tensor, "count"]]:
    """Return the lead over the target of the rival, or of the best other class, and which one that is."""
    chosen: Bool[Tensor, "way"] = torch.arange(scores.shape[-1], device=scores.device) != target
    if rival is not None:
        chosen = torch.arange(scores.shape[-1], device=scores.device) == rival
    best = scores.masked_fill(~chosen, -torch.inf).max(dim=-1)
    return best.values - scores[:, target], best.indices


def _kind_of(head: nn.Module) -> tuple[bool, bool]:
    """Say whether a head is affine but for a last division by the norm, and whether it has that."""
    layers = [layer for layer in head.modules() if not isinstance(layer, nn.Sequential | nn.Identity | nn.Dropout)]
    normalized = bool(layers) and isinstance(layers[-1], L2Normalize)
    affine = layers[:-1] if normalized else layers
    return all(isinstance(layer, nn.Linear | nn.BatchNorm1d | Center) for layer in affine), normalized


def _in_float64(features: Features) -> Features:
    return replace(features, maps=features.maps.double()) if features.trace is None else features


def _along(parts: Mapping[str, Float[Tensor, "channel"]], pulled: Float[Tensor, "rival channel"]) -> list[Tensor]:
    return [pulled @ value for value in parts.values()]


def support_maps(question: Question) -> Float[Tensor, "way shot channel h w"]:
    """Return the activation maps of the supports.

    Raises: ``ValueError`` where only their embeddings were kept.
    """
    return _with_maps(question).maps


def _with_maps(question: Question) -> Features:
    if question.supports.features is None:
        raise Mistake("replacing cells needs the supports' activation maps, but only embeddings were kept.")
    return question.supports.features
