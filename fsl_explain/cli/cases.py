"""Cases of a page: single queries with their explanations and figures."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from episodes import LabeledImages, PreparedImage, prepare
from fsl_explain.cli.fitting_methods import methods_of
from fsl_explain.cli.from_settings import sampler_of, similarity_of
from fsl_explain.cli.progress import with_bar
from fsl_explain.config import EvaluationConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation.measurement import Chunk
from fsl_explain.evaluation.query_figures import figures_of
from fsl_explain.explainers.analysis.counterfactual import EDITS, counterfactual_of
from fsl_explain.explainers.choice import Choice, find_similarity
from fsl_explain.explainers.compared import Compared, compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.report import Case
from fsl_explain.similarities.traits import has_form

CASES_ON_A_PAGE = 4
STAGE = "explaining examples"


def make_case(
    title: str,
    compared: Compared,
    methods: Sequence[str],
    choice: Choice,
    truth: str | None = None,
    box: Float[Tensor, "4"] | None = None,
    mask: Bool[Tensor, "height width"] | None = None,
    query_name: str = "",
    support_names: Mapping[str, Sequence[str]] | None = None,
    prompts: Mapping[str, Sequence[str]] | None = None,
) -> Case:
    """Explain the one query of ``compared`` by every method; each is told the options that are its own."""
    explanations = {
        method: explain_compared(compared, method, choice.meant_for(find_method(method).explains))[0]
        for method in methods
    }
    return Case(
        title=title,
        explanations=explanations,
        truth=truth,
        box=box,
        figures={
            method: figures_of(compared, explanation, choice, box, mask) for method, explanation in explanations.items()
        },
        query_name=query_name,
        support_names=support_names or {},
        prompts=prompts or {},
        counterfactuals=tuple(counterfactual_of(compared, choice, edit) for edit in _edits(compared, choice)),
    )


def _edits(compared: Compared, choice: Choice) -> tuple[str, ...]:
    """Return the edits of cells to look for; only cells that have maps of their own are removed or replaced."""
    integrated = compared.encoder.reading.tail.is_network or not has_form(find_similarity(choice.similarity, compared))
    if len(compared.supports.classes) < 2 or integrated:
        return ()
    return EDITS if compared.supports.features is not None else ("remove",)


def episode_cases(
    settings: EvaluationConfig, encoder: Encoder, dataset: LabeledImages, chunk: Chunk, wanted: int = CASES_ON_A_PAGE
) -> tuple[Case, ...]:
    """Show the first correct decision of each of the first episodes, then the first wrong ones."""
    correct = chunk.decisions.truth == chunk.decisions.predicted
    chosen = _first_of_each_episode(correct, wanted - wanted // 4) + _first_of_each_episode(~correct, wanted // 4)
    return tuple(with_bar(STAGE, partial(_episode_case, settings, encoder, dataset), chosen))


def _first_of_each_episode(which: Bool[Tensor, "episode query"], wanted: int) -> list[tuple[int, int]]:
    having = which.any(dim=1).nonzero().flatten().tolist()
    return [(episode, int(which[episode].int().argmax())) for episode in having[:wanted]]


def _episode_case(
    settings: EvaluationConfig, encoder: Encoder, dataset: LabeledImages, position: int, query: int
) -> Case:
    episode = sampler_of(settings.episodes, dataset)[position]
    index = int(episode.query.flat[query])
    names = [dataset.classes[label] for label in episode.classes]
    truth = dataset.classes[int(dataset.labels[index])]
    supports = {
        name: torch.stack([_prepared(encoder, dataset, int(i)).pixels for i in row])
        for name, row in zip(names, episode.support, strict=True)
    }
    prepared = _prepared(encoder, dataset, index)
    decision = settings.decision
    similarity = similarity_of(decision, settings.episodes.n_shot)
    choice = Choice(decision.rule, similarity)
    compared = compare(encoder, prepared.pixels, supports, similarity)
    return make_case(
        f"Episode {position}: a query of class {truth}",
        compared,
        (*methods_of(settings.explanation, encoder, decision.rule), "lafam"),
        choice,
        truth=truth,
        box=prepared.target_box,
        mask=prepared.target_mask,
        query_name=_name(dataset.paths[index]),
        support_names={
            name: [_name(dataset.paths[int(i)]) for i in row] for name, row in zip(names, episode.support, strict=True)
        },
    )


def _prepared(encoder: Encoder, dataset: LabeledImages, index: int) -> PreparedImage:
    if encoder.carries_boxes:
        return prepare(dataset[index], encoder.transform)
    return PreparedImage(encoder.preprocess([dataset[index].image])[0], None, None)


def _name(path: Path | None) -> str:
    return "" if path is None else path.name
