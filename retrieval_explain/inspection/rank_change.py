"""What would have to change for an image to come back earlier: the fewest cells of the query to remove.

Notation: e is the expected image and r one that comes back before it. With gains frozen at the query, the lead of r
over e is a sum over cells plus a bias; removing a cell takes its share away. A cell is chosen next that leaves the
smallest sum of leads. After each cell the maps are pooled, embedded and compared with every row that may come back.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fsl_explain.classifiers import SupportSet
from fsl_explain.explainers.analysis.counterfactual import edited_image
from fsl_explain.explainers.analysis.flipping_cells import (
    ROUNDING,
    Leads,
    embeddings_without,
    leads_over,
    sums_tell_the_decision,
)
from fsl_explain.explainers.choice import Choice, ask
from fsl_explain.explainers.compared import Compared, visible
from fsl_explain.explainers.question import Question
from fsl_explain.similarities import is_without
from retrieval_explain.decisions.explained_neighbors import Retrieved
from retrieval_explain.ranking.exact_ranks import rows_ahead

MOST_RIVALS = 512  # that choose the cells, the nearest to the expected image; every row is compared in any case


@dataclass(frozen=True)
class RankChange:
    """The cells of the query without which an image reaches a rank, and the ranks it then has.

    The rank after the edit is found twice, both times among all rows that may come back: with the cells of the maps
    at 0 (``rank_at_features``), and for the image with the squares of those cells at 0, by a forward pass
    (``rank_at_pixels``). The two may differ. Where the ``goal``, or a better rank, is not reached, ``cells`` is empty,
    the rank at the features is the best on the way, and the other one and ``image_after`` are None.

    ``cells`` are (row, column), in the order in which they go, and True in ``mask``. ``minimal`` says that it is proven
    that no fewer cells reach the goal, or none at all. The images are in [0, 1], for pictures.
    """

    goal: int
    cells: tuple[tuple[int, int], ...]
    minimal: bool
    rank_before: int
    rank_at_features: int
    rank_at_pixels: int | None
    mask: Bool[Tensor, "h w"]
    image_before: Float[Tensor, "3 height width"]
    image_after: Float[Tensor, "3 height width"] | None

    @property
    def found(self) -> bool:
        """Whether there are cells whose removal reaches the goal."""
        return bool(self.cells)

    @property
    def confirmed(self) -> bool:
        """Whether the forward pass of the edited image reaches the goal, too."""
        return self.rank_at_pixels is not None and self.rank_at_pixels <= self.goal

    def __str__(self) -> str:
        where, total = f"rank {self.goal}" if self.goal == 1 else f"rank {self.goal} or better", self.mask.numel()
        if not self.found:
            tried = "whichever they are" if self.minimal else "tried in the order of what they hold back only"
            return (
                f"Removing cells of the query does not bring it to {where}, {tried}; the best rank on the way is "
                f"{self.rank_at_features}."
            )
        proof = "no fewer do" if self.minimal else "fewer may do, which is not proven"
        cells = "1 cell" if len(self.cells) == 1 else f"{len(self.cells)} cells"
        edit = f"removing {cells} of {total} of the query"
        if self.confirmed:
            return (
                f"{edit.capitalize()} brings it from rank {self.rank_before} to rank {self.rank_at_features}; {proof}. "
                f"A forward pass of the edited image confirms it: rank {self.rank_at_pixels} of all."
            )
        return (
            f"A forward pass contradicts what follows: for the edited image it stands at rank {self.rank_at_pixels}. "
            f"At the features alone, {edit} brings it from rank {self.rank_before} to rank {self.rank_at_features}; "
            f"{proof}."
        )

    def __repr__(self) -> str:
        return f"RankChange({str(self)!r})"


def rank_change(retrieved: Retrieved, row: int, ahead: Int[Tensor, "ahead"], goal: int) -> RankChange:
    """Find the fewest cells whose removal brings a row from behind the rows ``ahead`` to a rank, 1 or larger."""
    rivals = ahead[-min(len(ahead), MOST_RIVALS) :] if goal == 1 else ahead[goal - 1 :][-MOST_RIVALS:]
    question = _question(retrieved, row, rivals)
    places = torch.arange(1, len(rivals) + 1, device=question.query.embedding.device)
    leads = leads_over(question, places, None)
    cells = _in_order(leads)
    embeddings = embeddings_without(question, cells)
    count, best = _first_that_reaches(retrieved, question, embeddings, row, goal)
    # A goal beyond the first lets some rivals stay, and which ones is a choice, so that nothing bounds it.
    least = _at_least(leads) if goal == 1 and sums_tell_the_decision(question, leads) else 1
    if count is None:
        ranks = (goal, len(ahead) + 1, min(best, len(ahead) + 1))
        return _change(retrieved, row, (question, cells[:0]), ranks, least > len(cells))
    proven = count <= least
    return _change(retrieved, row, (question, cells[:count]), (goal, len(ahead) + 1, best), proven)


def _question(retrieved: Retrieved, row: int, rivals: Int[Tensor, "rival"]) -> Question:
    """Ask about the expected image among those before it, each a class of its own; it is the first of them."""
    bank = retrieved.bank
    numbers = torch.cat([torch.tensor([row]), rivals])
    embeddings = bank.rows.take(numbers).double()[:, None].to(retrieved.features.embedding.device)
    valid = torch.ones(len(numbers), 1, dtype=torch.bool, device=embeddings.device)
    supports = SupportSet(embeddings, valid, tuple(f"row {number}" for number in numbers.tolist()))
    # Of one support each, the mean similarity is the nearest neighbor's, and is linear in the embedding.
    return ask(beside(retrieved, supports), Choice("mean-similarity", bank.similarity, 0))[0]


def beside(retrieved: Retrieved, supports: SupportSet) -> Compared:
    """Set the query beside supports that are embedded already."""
    features = retrieved.features[None]
    return Compared(retrieved.encoder, retrieved.image[None], features, supports, None)


def _in_order(leads: Leads) -> Int[Tensor, "cells"]:
    """Order the cells: next is the one whose removal leaves the smallest sum of the rivals' leads."""
    missing, gains = (-leads.lead).clone(), -leads.cells  # what e lacks to each rival; what removing a cell gives e
    left, order = torch.ones(gains.shape[1], dtype=torch.bool, device=gains.device), []
    for _ in range(gains.shape[1]):
        after = missing[:, None] - gains
        rest = (after + leads.rounding[:, None]).clamp(min=0).sum(dim=0)
        lacking = torch.where(rest == rest.masked_fill(~left, torch.inf).min(), after.amax(dim=0), torch.inf)
        cell = int(lacking.masked_fill(~left, torch.inf).argmin())
        order.append(cell)
        left[cell] = False
        missing = after[:, cell]
    return torch.tensor(order, device=gains.device)


def _at_least(leads: Leads) -> int:
    """Return how many cells it takes to overtake the rival that takes most, which no edit can undercut."""
    given = (-leads.cells).sort(dim=-1, descending=True).values.cumsum(dim=-1)
    overtaken = leads.lead[:, None] + given > leads.rounding[:, None]
    first = overtaken.int().argmax(dim=-1) + 1
    return int(torch.where(overtaken.any(dim=-1), first, leads.cells.shape[-1] + 1).amax())


def _first_that_reaches(
    retrieved: Retrieved, question: Question, embeddings: Float[Tensor, "count channel"], row: int, goal: int
) -> tuple[int | None, int]:
    """Return after how many cells the goal is reached, with its rank; or None and the best rank on the way."""
    supports, similarity = question.supports.embeddings[:, 0], question.similarity
    found = similarity.pairwise(embeddings, supports)
    rounding = ROUNDING * torch.finfo(question.query.maps.dtype).eps * found.abs().amax(dim=-1, keepdim=True)
    before = (found[:, 1:] >= found[:, :1] - rounding).sum(dim=-1)  # a lead within rounding is none
    usable = embeddings.isfinite().all(dim=-1) & ~is_without(similarity, embeddings)
    before = before.masked_fill(~usable, supports.shape[0])
    best = supports.shape[0] + len(retrieved.bank)
    hopeful = int(before.argsort(stable=True)[0])
    for count in [*(before < 1).nonzero()[:, 0].tolist(), hopeful]:  # of a goal beyond the first, others may go, too
        if not bool(usable[count]):
            continue
        rank = rank_of(retrieved, embeddings[count], row)
        best = min(best, rank)
        if rank <= goal:
            return count + 1, rank
    return None, best


def rank_of(retrieved: Retrieved, embedding: Float[Tensor, "channel"], row: int) -> int:
    """Return the rank, from 1, of a row for another embedding of the query."""
    bank = retrieved.bank
    return len(rows_ahead(embedding.detach().cpu(), bank.rows, bank.similarity, row, retrieved.allowed)) + 1


def _change(
    retrieved: Retrieved,
    row: int,
    edit: tuple[Question, Int[Tensor, "count"]],
    ranks: tuple[int, int, int],
    proven: bool,
) -> RankChange:
    """Confirm the removal of cells by one forward pass of the edited image."""
    question, cells = edit
    encoder, image, (height, width) = retrieved.encoder, retrieved.image, question.query.maps.shape[1:]
    after, rank = image, None
    if len(cells):
        after = edited_image(image, (height, width), cells.to(image.device))
        embedding = encoder(after[None]).in_float64().embedding[0]
        rank = rank_of(retrieved, embedding, row)
    before, edited = visible(encoder, torch.cat([image, after], dim=-1).cpu()).chunk(2, dim=-1)
    mask = torch.zeros(height * width, dtype=torch.bool).index_fill(0, cells.cpu(), True).reshape(height, width)
    return RankChange(
        goal=ranks[0],
        cells=tuple(divmod(number, width) for number in cells.tolist()),
        minimal=proven,
        rank_before=ranks[1],
        rank_at_features=ranks[2],
        rank_at_pixels=rank,
        mask=mask,
        image_before=before,
        image_after=edited if len(cells) else None,
    )
