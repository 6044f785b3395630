"""The page of an inspection: gallery, the first rather than the second, each neighbor beside the query, the vote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image

from fsl_explain.classifiers import Vote
from fsl_explain.evaluation import Table
from fsl_explain.explainers import Explanation
from fsl_explain.report import Page
from fsl_explain.report.bars import Bars, bars
from fsl_explain.report.heatmap import Picture, photograph
from fsl_explain.report.html import render, write_html
from fsl_explain.report.method_view import MethodView, method_view
from fsl_explain.report.numbers import decimals, figure, fixed, scientific
from fsl_explain.report.scale_view import ScaleView, scale_view
from fsl_explain.report.standing_pair import standing_pair
from fsl_explain.report.support_view import linked_picture
from retrieval_explain.inspection.expected import Expectation
from retrieval_explain.inspection.expected_view import PairView, expected_view, neighbor_map
from retrieval_explain.inspection.inspected import Inspection, Pair, Shown, VoteAnswer
from retrieval_explain.inspection.shown_paths import common_folder, shown_path

TEMPLATES = Path(__file__).parent
QUERY_WIDTH, THUMBNAIL_WIDTH = 260, 150  # CSS pixels
SHOWN_VOTERS = 12
HOW_TO_READ = (
    "A search returns the images whose embeddings are most similar to the query's. Each similarity is split over the "
    "cells of the query's last activation maps, and likewise over the neighbor's: red cells speak for the match, blue "
    "ones against it. Cells, or channels, and a bias add up to the similarity; each receipt shows by how much they "
    "miss it. The maps make no claim about single pixels; between the cells they are interpolated.",
    "A vote is explained from the embeddings that the bank has stored. Its logarithm splits into how similar a class's "
    "voters are and how many there are.",
)


@dataclass(frozen=True)
class NeighborView:
    """One image of the gallery."""

    title: str
    picture: Picture | None
    label: str
    wins: bool  # whether it is of the class that wins the vote
    path: str
    fault: str


@dataclass(frozen=True)
class VoteView:
    """The vote: a bar for each class, its receipt, its maps and what is left of the score behind them."""

    verdict: str
    classes: Bars
    title: str
    addends: Bars
    total: str
    scales: ScaleView | None  # of a vote at several
    methods: tuple[MethodView, ...]
    figures: Table


def write_inspection(
    inspection: Inspection,
    page: Page,
    query: PIL.Image.Image,
    path: str | Path,
    *,
    expected: Expectation | None = None,
) -> None:
    """Write the page of an inspection; ``page`` holds its title, lead and facts, ``query`` the image as it was given.

    ``expected`` says why an image that was expected does not come first, which then is answered first.

    Raises: ``ValueError`` where the path cannot be a file.
    """
    folder = common_folder(inspection.retrieved.bank.paths)
    text = render(
        "inspection.html",
        TEMPLATES,
        page=replace(page, notes=(*page.notes, *changed_notes(inspection.gallery))),
        how_to_read=HOW_TO_READ,
        query=photograph(query, "query", QUERY_WIDTH),
        gallery=[neighbor_view(shown, folder, _winner(inspection)) for shown in inspection.gallery],
        margin=None if inspection.margin is None else _margin_view(inspection.margin, inspection, folder),
        pairs=[_pair_view(pair, folder) for pair in inspection.pairs],
        vote=None if inspection.vote is None else _vote_view(inspection.vote),
        expected=None if expected is None else expected_view(expected),
    )
    write_html(text, path)


def _winner(inspection: Inspection) -> str:
    return "" if inspection.vote is None else next(iter(inspection.vote.explanations.values())).decision.name


def changed_notes(shown: Sequence[Shown]) -> tuple[str, ...]:
    """Say which images were read and have no maps, because they have changed since the bank embedded them."""
    return tuple(f"No maps of #{one.rank}: {one.fault}" for one in shown if one.fault and one.photograph is not None)


def neighbor_view(shown: Shown, folder: str, winner: str = "") -> NeighborView:
    """Prepare one image of the gallery; ``folder`` is that of the whole bank, ``winner`` the class that won a vote."""
    return NeighborView(
        title=f"#{shown.rank} · {fixed(shown.similarity, 4)}",
        picture=None
        if shown.photograph is None
        else photograph(shown.photograph, f"neighbor {shown.rank}", THUMBNAIL_WIDTH),
        label=shown.label or "no label",
        wins=bool(shown.label) and shown.label == winner,
        path=shown_path(shown.path, folder),
        fault=shown.fault.replace(shown.path, shown_path(shown.path, folder)) if shown.path else shown.fault,
    )


def _pair_view(pair: Pair, folder: str) -> PairView:
    shown, explanation = pair.shown, pair.explanation
    return PairView(
        rank=f"#{shown.rank}",
        title=f"#{shown.rank}: similarity {fixed(shown.similarity, 4)}{f', {shown.label}' if shown.label else ''}",
        paths=(shown_path(shown.path, folder),),
        note=agreement_words(pair),
        query=method_view("exact", explanation),
        neighbors=(neighbor_map(explanation, int(explanation.target)),),
        linked=linked_picture(explanation, "query"),
        standing=standing_pair(explanation, [(int(explanation.target), 0, f"neighbor {shown.rank}")]),
    )


def agreement_words(pair: Pair) -> str:
    """Say how far the image of a pair, embedded again, is from what the bank has stored."""
    amount = scientific(pair.disagreement)
    if pair.agrees:
        return f"The image, embedded again, differs from the stored similarity by {amount}."
    return (
        f"The image, embedded again, differs from the stored similarity by {amount}: the file has changed since the "
        "bank was built, or another encoder made the bank. The maps are of the image as it is now."
    )


def _margin_view(explanation: Explanation, inspection: Inspection, folder: str) -> PairView:
    first, second = inspection.gallery[0], inspection.gallery[1]
    with_maps = explanation.support_images is not None
    return PairView(
        rank="#1 rather than #2",
        title=f"Why #1 rather than #2: a margin of {fixed(float(explanation.score), 4)}",
        paths=tuple(f"#{one.rank} {shown_path(one.path, folder)}" for one in (first, second)),
        note="Red cells of the query speak for the first, blue ones for the second."
        + ("" if with_maps else " The images could not be read, so only the query's side is shown."),
        query=method_view("contrast", explanation),
        neighbors=tuple(neighbor_map(explanation, place) for place in range(2)) if with_maps else (),
        linked=linked_picture(explanation, "query") if with_maps else None,
        standing=standing_pair(explanation, [(place, 0, f"neighbor {place + 1}") for place in range(2)])
        if with_maps
        else None,
    )


def _vote_view(vote: VoteAnswer) -> VoteView:
    main = next(iter(vote.explanations.values()))
    rows, total = _addends(main, vote.ranks)
    places = decimals([value for _, value in rows], significant=4)
    return VoteView(
        verdict=verdict(vote),
        classes=_class_bars(main, vote.voters),
        title=f"How the voters add up to the {'score' if main.against is None else 'lead'} of {main.decision.name}",
        addends=bars(
            [name for name, _ in rows],
            [value for _, value in rows],
            [fixed(value, places, plus=True) for _, value in rows],
            symmetric=True,
        ),
        total=total,
        scales=scale_view(main.receipt()),
        methods=tuple(method_view(name, explanation) for name, explanation in vote.explanations.items()),
        figures=_figures(vote),
    )


def verdict(vote: VoteAnswer) -> str:
    """Say what the vote decided and what it hangs on."""
    main, point = next(iter(vote.explanations.values())), vote.turning_point
    voters = sum(vote.voters.values())
    if point is None:
        return f"Decided: {main.decision.name}. All {voters} neighbors are of this class."
    return f"Decided: {main.decision.name}, with {point.winners_voters} of {voters} neighbors. {point.sentence}"


def _class_bars(main: Explanation, voters: Mapping[str, int]) -> Bars:
    ranking = main.decision.scores.double()
    rule = main.evidence.rule
    shares = rule.shares(ranking) if isinstance(rule, Vote) else ranking
    order = shares.argsort(descending=True, stable=True).tolist()
    names = [main.decision.classes[label] for label in order]
    values = [float(shares[label]) for label in order]
    texts = [f"{fixed(100 * value, 1)} %" for value in values]
    counts = [f"{name} ({voters[name]})" for name in names]
    marks = [("predicted",) if name == main.decision.name else () for name in names]
    return bars(counts, values, texts, marks)


def _addends(main: Explanation, ranks: Mapping[tuple[str, int], int]) -> tuple[list[tuple[str, float]], str]:
    """Return the strongest voters, the rest of them and the constants, and their sum in words."""
    receipt = main.receipt()
    lines = receipt.largest_first()
    rows = [(f"#{ranks[line.class_name, line.shot]} {line.class_name}", line.amount) for line in lines[:SHOWN_VOTERS]]
    rest = lines[SHOWN_VOTERS:]
    if rest:
        rows.append((f"the other {len(rest)} voters together", sum(line.amount for line in rest)))
    rows += list(receipt.constants.items())
    share = receipt.residual / receipt.absolute_sum if receipt.absolute_sum > 0 else 0.0
    similar = receipt.supports + receipt.bias
    return rows, (
        f"How similar: {fixed(similar, 4, plus=True)}. How many: {fixed(receipt.total - similar, 4, plus=True)}. "
        f"Together {fixed(receipt.total, 4, plus=True)}; the vote's own number is {fixed(receipt.score, 4, plus=True)} "
        f"(residual {scientific(receipt.residual)}, {scientific(share)} of the absolute addends)."
    )


def _figures(vote: VoteAnswer) -> Table:
    metrics = list(next(iter(vote.figures.values())))
    rows = [[name, *(figure(values[metric]) for metric in metrics)] for name, values in vote.figures.items()]
    return Table("What is left of the score behind each map", ["method", *metrics], rows)
