"""``fsl-explain explain``."""

from dataclasses import replace
from pathlib import Path

import torch

from episodes import read_image
from fsl_explain.backbones.random_parts import random_words
from fsl_explain.centering import centered_words
from fsl_explain.classifiers import is_local, named_rule
from fsl_explain.cli.cases import make_case
from fsl_explain.cli.centering import as_set
from fsl_explain.cli.compared_with import compared_with, embeddings_of
from fsl_explain.cli.fitting_methods import fitting
from fsl_explain.cli.manners import check_trained
from fsl_explain.cli.measuring import say_beforehand
from fsl_explain.cli.named_encoder import named_encoder
from fsl_explain.cli.progress import note, say, show_table
from fsl_explain.config.center import CenterConfig
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import Table
from fsl_explain.explainers.analysis.support_audit import support_audit
from fsl_explain.explainers.choice import Choice, find_similarity
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.contrast_weights import class_index
from fsl_explain.explainers.methods.fam import has_projection
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.explainers.prompts import scale_of
from fsl_explain.heads import pooling_name
from fsl_explain.registries import LEARNED_LOCAL_RULES
from fsl_explain.report import Case, Page, write_page
from fsl_explain.report.support_view import decided_by_supports, receipt_title
from fsl_explain.similarities import Similarity


def run(
    query: Path,
    support: Path | None,
    text: tuple[str, ...],
    out: Path,
    encoder: str,
    checkpoint: Path | None,
    pooling: str | None,
    readout: str | None,
    scales: str | None,
    support_scales: str | None,
    detail: int,
    biases: str,
    center: CenterConfig | None,
    methods: tuple[str, ...],
    rule: str,
    k: int | None,
    temperature: float | None,
    similarity: str,
    threshold: float | None,
    scale: float | None,
    target: str | None,
    against: tuple[str, ...],
    shots: int | None,
    skip_broken: bool = False,
) -> None:
    """Explain the query, print the decision and the receipts, and write the page."""
    image = read_image(query)
    given = compared_with(support, text, shots, skip_broken)
    choice = Choice(
        rule=named_rule(rule, k, temperature),
        similarity=similarity,
        target=None if target is None else class_index(target, given.classes),
        against=None if not against else "others" if against == ("others",) else list(against),
        threshold=threshold,
    )
    network = named_encoder(encoder, checkpoint, pooling, readout, scales, detail, biases, support_scales)
    choice = replace(choice, scale=scale_of(network, scale, text or None))
    check_trained(encoder, network.random)
    say_beforehand(network)
    note(f"Comparing {query.name} with {given.words} …")
    supports = given.supports(network)
    if rule in LEARNED_LOCAL_RULES and any(len(images) > 1 for images in supports.values()):
        count = sum(map(len, supports.values()))
        note(f"{rule} learns anew without each of the {count} supports; that may take minutes.")
    network = as_set(network, center, lambda: embeddings_of(network, supports))
    compared = compare(network, network.preprocess([image])[0], supports, similarity)
    usual = _usual_methods(network, given.classes, find_similarity(similarity, compared), rule)
    case = make_case(
        "The decision",
        compared,
        tuple(dict.fromkeys(methods)) or usual,
        choice,
        query_name=query.name,
        support_names=given.names,
        prompts=given.prompts,
    )
    write_page(
        Page(
            title=f"Why is {query.name} taken for {case.main_explanation.decision.name}?",
            lead=_verdict(case),
            facts=_facts(network, rule, similarity),
            cases=(case,),
            notes=tuple(words for words in (centered_words(network.centered_on),) if words),
        ),
        out,
    )
    _print(case)
    _print_supports(case)
    say(f"Page: {out}")


def _facts(network: Encoder, rule: str, similarity: str) -> dict[str, str]:
    tokens = network.tokens
    pooled = "none, cells are compared one by one" if is_local(named_rule(rule)) else pooling_name(network.pooling)
    read = {"Pooling": pooled} if tokens is None else {"Readout": tokens.readout}
    return {
        "Encoder": " ".join((f"{network.description}.", random_words(network.random))).removesuffix(". "),
        "Decision": f"{rule}, {similarity} similarity",
        **read,
        **({} if network.detail is None else {"Cells": f"drawn finer, {network.detail.wanted.words}"}),
    }


def _usual_methods(network: Encoder, classes: tuple[str, ...], similarity: Similarity, rule: str) -> tuple[str, ...]:
    integrated = network.reading.tail.is_network
    by_paper = () if integrated else ("fam", "lafam") if has_projection(network.head) else ("lafam",)
    usual = (*(("contrast",) if len(classes) > 1 else ()), "exact", *by_paper)
    return tuple(name for name in fitting(usual, network, rule) if find_method(name).takes(similarity))


def _verdict(case: Case) -> str:
    decision = case.main_explanation.decision
    best = decision.scores.topk(min(2, len(decision.scores)))
    names = [decision.classes[i] for i in best.indices.tolist()]
    lead = f"Decided: {names[0]}, score {best.values[0]:.4f}."
    return lead if len(names) == 1 else f"{lead} Runner-up: {names[1]}, score {best.values[1]:.4f}."


def _print(case: Case) -> None:
    decision = case.main_explanation.decision
    order = decision.scores.argsort(descending=True).tolist()
    rows = tuple((decision.classes[i], f"{decision.scores[i]:.4f}") for i in order)
    show_table(Table("Decision", ("class", "score"), rows, (_verdict(case),)))
    receipts = []
    for name, explanation in case.explanations.items():
        if torch.isnan(explanation.residual):
            receipts.append((name, *("–",) * 5))
            continue
        relative = float(explanation.residual / explanation.absolute_sum)
        receipts.append(
            (
                name,
                f"{explanation.score:+.4f}",
                f"{explanation.contributions.sum():+.4f}",
                f"{explanation.bias:+.4f}",
                f"{explanation.residual:.1e}",
                f"{relative:.1e}",
            )
        )
    columns = ("method", "score", "Σ channels", "bias", "residual", "residual / Σ|terms|")
    notes = ("score = Σ channels + bias for exact and contrast; other methods do not claim to add up.",)
    show_table(Table("Receipts", columns, tuple(receipts), notes))


def _print_supports(case: Case) -> None:
    """Print how the supports add up, for the contrast where there is one, and what is decided without each."""
    explanation = decided_by_supports(case)
    say(f"\n{receipt_title(explanation)}\n\n{explanation.receipt()}", lines=True)
    say(f"\nWithout one support at a time\n\n{support_audit(explanation)}\n", lines=True)
    for found in case.counterfactuals:
        say(str(found), lines=True)
    say("")
