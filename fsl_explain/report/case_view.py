"""One case as the template shows it."""

from dataclasses import dataclass

from fsl_explain.evaluation import Table
from fsl_explain.explainers import Explanation
from fsl_explain.pictures.picture import has_say, shots, support_overlay
from fsl_explain.report.annotated_box import BoxView, box_view
from fsl_explain.report.bars import Bars, bars
from fsl_explain.report.counterfactual_view import CounterfactualView, counterfactual_view
from fsl_explain.report.heatmap import Picture, picture
from fsl_explain.report.method_view import Legend, MethodView, legend, method_view
from fsl_explain.report.numbers import decimals, figure, fixed
from fsl_explain.report.page import Case
from fsl_explain.report.support_view import SupportReceipt, decided_by_supports, support_receipt
from fsl_explain.report.wording import marks, verdict

QUERY_WIDTH = 300  # CSS pixels
SUPPORT_WIDTH = 104


@dataclass(frozen=True)
class SupportView:
    """One support, with the name of its file."""

    picture: Picture
    name: str


@dataclass(frozen=True)
class ClassView:
    """A class: its score, how it is marked, and its supports or prompts; ``note`` is said where the map is empty."""

    name: str
    score: str
    marks: tuple[str, ...]
    supports: tuple[SupportView, ...]
    note: str
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class CaseView:
    """All of a case, ready to be written."""

    title: str
    verdict: str
    query: Picture
    query_name: str
    box: BoxView | None
    scores: Bars
    main_name: str
    main_legend: Legend
    classes: tuple[ClassView, ...]
    prompted: bool  # whether the supports are prompts
    methods: tuple[MethodView, ...]
    figures: Table | None
    receipt: SupportReceipt
    counterfactuals: tuple[CounterfactualView, ...]


def case_view(case: Case) -> CaseView:
    """Prepare one case: classes from the best score to the worst, methods in their own order."""
    main = case.main_explanation
    order = main.decision.scores.sort(descending=True, stable=True).indices.tolist()
    values = [float(main.decision.scores[label]) for label in order]
    texts = [fixed(value, decimals(values, significant=4)) for value in values]
    names = [main.decision.classes[label] for label in order]
    marked = [marks(main, label, case.truth) for label in order]
    return CaseView(
        title=case.title,
        verdict=verdict(main, case.truth),
        query=picture(main.image.float().movedim(0, -1), f"query, decided as {main.decision.name}", QUERY_WIDTH),
        query_name=case.query_name,
        box=box_view(case.box, *main.image.shape[-2:]),
        scores=bars(names, values, texts, marked),
        main_name=case.main_name,
        main_legend=legend(main),
        classes=tuple(_class_view(main, label, text, case) for label, text in zip(order, texts, strict=True)),
        prompted=bool(case.prompts),
        methods=tuple(method_view(name, explanation) for name, explanation in case.explanations.items()),
        figures=_figures(case),
        receipt=support_receipt(case),
        counterfactuals=tuple(counterfactual_view(found) for found in case.counterfactuals),
    )


def _class_view(main: Explanation, label: int, score: str, case: Case) -> ClassView:
    name = main.decision.classes[label]
    if case.prompts:
        part = bool((main.support_weights[label] != 0).any())
        notes = [] if part else _silence(main, label, case)
        return ClassView(name, score, marks(main, label, case.truth), (), " · ".join(notes), _prompts(name, case))
    real = shots(main, label)
    silent = not any(has_say(main, label, shot) for shot in real)
    notes = _silence(main, label, case) if silent else []
    if main.support_images is None:
        notes.append("no photographs were given")
        real = [] if silent else real
    file_names = case.support_names.get(name) or [""] * len(real)
    supports = tuple(
        SupportView(_support_picture(main, label, shot), f"{shot + 1} {file_names[place]}".strip())
        for place, shot in enumerate(real)
    )
    return ClassView(name, score, marks(main, label, case.truth), supports, " · ".join(notes), ())


def _prompts(name: str, case: Case) -> tuple[str, ...]:
    """Return the prompts of a class, none where its name says the only one."""
    prompts = tuple(case.prompts.get(name) or ())
    return () if prompts == (name,) else prompts


def _silence(main: Explanation, label: int, case: Case) -> list[str]:
    """Say why a class has no map: it has no say, or only in the lead that is added up further down."""
    shown = decided_by_supports(case)
    if shown is not main and bool((shown.support_weights[label] != 0).any()):
        target = main.decision.classes[int(main.target)]
        return [f"no part in the score of {target}, but in its lead below"]
    return ["no part in the explained score"]


def _support_picture(main: Explanation, label: int, shot: int) -> Picture:
    alt = f"support {shot + 1} of {main.decision.classes[label]}"
    if has_say(main, label, shot):
        alt = f"{alt} with its map"
    return picture(support_overlay(main, label, shot), alt, SUPPORT_WIDTH)


def _figures(case: Case) -> Table | None:
    metrics = list(dict.fromkeys(metric for values in case.figures.values() for metric in values))
    if not metrics:
        return None
    rows = [
        [name, *(figure(case.figures[name].get(metric, float("nan"))) for metric in metrics)]
        for name in case.explanations
        if name in case.figures
    ]
    return Table("Figures of this query", ["method", *metrics], rows)
