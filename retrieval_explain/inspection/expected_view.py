"""What the page shows of an expected image: the answer, what the first has over it, and what would have to change."""

from dataclasses import dataclass
from typing import Any

from fsl_explain.explainers import Explanation
from fsl_explain.pictures.picture import support_overlay
from fsl_explain.report.counterfactual_view import framed
from fsl_explain.report.heatmap import Picture, picture
from fsl_explain.report.method_view import MAP_WIDTH, MethodView, method_view
from fsl_explain.report.numbers import fixed
from fsl_explain.report.standing_pair import standing_pair
from fsl_explain.report.support_view import linked_picture
from retrieval_explain.inspection.expected import Expectation
from retrieval_explain.inspection.rank_change import RankChange


@dataclass(frozen=True)
class PairView:
    """The query and one neighbor, with the maps of their similarity on both."""

    rank: str  # "#1", or both of a margin
    title: str
    paths: tuple[str, ...]
    note: str
    query: MethodView
    neighbors: tuple[Picture, ...]
    linked: Picture | None
    standing: dict[str, Any] | None = None  # the same to be pointed at, where pairs of cells add up


@dataclass(frozen=True)
class ChangeView:
    """What would have to change: a sentence, the cells framed on the query, and the edited image."""

    sentence: str
    before: Picture | None
    after: Picture | None


@dataclass(frozen=True)
class ExpectedView:
    """The answer in sentences, the contrast of the first with the expected image, and the changes."""

    title: str
    answer: tuple[str, ...]
    contrast: PairView | None
    changes: tuple[ChangeView, ...]


def expected_view(expected: Expectation) -> ExpectedView:
    """Prepare the answer about an expected image."""
    said = {str(change) for change in expected.changes}
    name = expected.expected.name.partition(" ")[2]
    title = f"{name} is the first" if expected.is_first else f"Why is {name} only at rank {expected.expected.rank}?"
    return ExpectedView(
        title=title,
        answer=tuple(sentence for sentence in expected.sentences if sentence not in said),
        contrast=None if expected.contrast is None else _contrast(expected.contrast, expected),
        changes=tuple(_change(change) for change in expected.changes),
    )


def neighbor_map(explanation: Explanation, place: int) -> Picture:
    """Draw one image of the bank with its side of the explanation."""
    return picture(support_overlay(explanation, place, 0), f"neighbor {place + 1} with its map", MAP_WIDTH)


def _contrast(explanation: Explanation, expected: Expectation) -> PairView:
    with_maps = explanation.support_images is not None
    first, awaited = expected.first, expected.expected
    return PairView(
        rank=f"#1 rather than #{awaited.rank}",
        title=f"What holds it back: #1 leads by {fixed(float(explanation.score), 4)}",
        paths=(),
        note=f"Red cells of the query speak for {first.name}, blue ones for {awaited.name}.",
        query=method_view("contrast", explanation),
        neighbors=tuple(
            picture(support_overlay(explanation, place, 0), f"{one.name} with its map", MAP_WIDTH)
            for place, one in enumerate((first, awaited))
        )
        if with_maps
        else (),
        linked=linked_picture(explanation, "query") if with_maps else None,
        standing=standing_pair(explanation, [(place, 0, one.name) for place, one in enumerate((first, awaited))]),
    )


def _change(change: RankChange) -> ChangeView:
    if not change.found or change.image_after is None:
        return ChangeView(str(change), None, None)
    goal = f"to reach rank {change.goal}"
    return ChangeView(
        str(change),
        picture(framed(change.image_before, change.mask), f"query with the cells to remove {goal}", MAP_WIDTH),
        picture(
            framed(change.image_after, change.mask), f"query without them, at rank {change.rank_at_pixels}", MAP_WIDTH
        ),
    )
