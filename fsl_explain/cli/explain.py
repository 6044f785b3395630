"""``fsl-explain explain``."""

from pathlib import Path

import torch
from rich.console import Console

from episodes import ImageFolder, find_images, read_image
from episodes.errors import Mistake
from fsl_explain.classifiers import named_rule
from fsl_explain.cli.cases import make_case
from fsl_explain.cli.manners import check_output_file
from fsl_explain.cli.progress import note, show_table
from fsl_explain.encoder import Encoder
from fsl_explain.evaluation import Table
from fsl_explain.explainers.analysis.support_audit import support_audit
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.contrast_weights import class_index
from fsl_explain.explainers.methods.named import find_method
from fsl_explain.heads import pooling_name
from fsl_explain.report import Case, Page, write_page
from fsl_explain.report.support_view import decided_by_supports, receipt_title


def explain(
    query: Path,
    *,
    support: Path,
    out: Path = Path("explanation.html"),
    encoder: str = "efficientnet-lite0",
    checkpoint: Path | None = None,
    pooling: str | None = None,
    method: tuple[str, ...] = (),
    rule: str = "mean-similarity",
    k: int | None = None,
    temperature: float | None = None,
    similarity: str = "cosine",
    threshold: float | None = None,
    scale: float = 1.0,
    target: str | None = None,
    against: tuple[str, ...] = (),
    shots: int | None = None,
) -> None:
    """Explain why a query image is given one of the classes of a support folder.

    Prints the decision and each explanation's receipt, and writes a page with the maps.

    Parameters
    ----------
    query
        The image to explain.
    support
        Folder with one folder of images per class: DIR/CLASS/IMAGE.
    out
        The HTML page to write.
    encoder
        conv4net, conv64f, resnet12, can-resnet12, resnet18, wrn-28-10, bn-inception, efficientnet-lite0, npid-resnet18,
        npid-resnet50, moco-resnet50, moco-v2-resnet50, simclr-resnet50, swav-resnet50, supervised-resnet50 or
        torchvision:NAME.
    checkpoint
        Weights for the encoder: safetensors, a plain state dict, or the file of an official release.
    pooling
        gap, gmp, lse or gem; that of the encoder's paper unless given.
    method
        exact, contrast, log-probability, verification, fam, lafam, grad-cam, relax, occlusion, score-cam or another
        that the README lists; may be repeated. By default exact, contrast, fam and lafam, as far as the classes and
        the similarity allow.
    rule
        mean-similarity, prototype, nearest-neighbor, knn-vote, majority-vote, logistic-regression or
        cosine-classifier.
    k
        Neighbors that vote; 200, or all supports where there are fewer, by default.
    temperature
        Of the weighted k-NN vote; 0.07 by default.
    similarity
        cosine, inner-product, euclidean or mahalanobis (fitted on the supports).
    threshold
        For verification: the score from which a claim is accepted.
    scale
        For log-probability: the factor of the scores inside the softmax.
    target
        The class to explain; the predicted one by default.
    against
        For contrast: a class, several classes, or others; the best-scoring rival by default.
    shots
        Use only the first N images of each class.
    """
    for name in method:
        find_method(name)
    check_output_file(out)
    image = read_image(query)
    groups = _support_files(support, shots)
    classes = tuple(groups)
    choice = Choice(
        rule=named_rule(rule, k, temperature),
        similarity=similarity,
        target=None if target is None else class_index(target, classes),
        against=None if not against else "others" if against == ("others",) else list(against),
        scale=scale,
        threshold=threshold,
    )
    if threshold is not None and "verification" not in method:
        raise Mistake("--threshold belongs to verification; add --method verification.")
    network = Encoder.named(encoder, checkpoint=checkpoint, pooling=pooling)
    note(f"Comparing {query.name} with {sum(map(len, groups.values()))} images of {len(groups)} classes …")
    supports = {name: network.preprocess([read_image(path) for path in files]) for name, files in groups.items()}
    compared = compare(network, network.preprocess([image])[0], supports, similarity)
    case = make_case(
        f"Why {query.name}?",
        compared,
        tuple(dict.fromkeys(method)) or _usual_methods(classes, similarity),
        choice,
        query_name=query.name,
        support_names={name: [path.name for path in files] for name, files in groups.items()},
    )
    facts = {
        "Encoder": network.description,
        "Decision": f"{rule}, {similarity} similarity",
        "Pooling": pooling_name(network.pooling),
    }
    write_page(Page(title=f"Why {query.name}?", lead=_verdict(case), facts=facts, cases=(case,)), out)
    _print(case)
    _print_supports(case)
    Console().print(f"Page: {out}", soft_wrap=True)


def _usual_methods(classes: tuple[str, ...], similarity: str) -> tuple[str, ...]:
    contrast = ("contrast",) if len(classes) > 1 else ()
    fam = () if similarity == "mahalanobis" else ("fam",)
    return ("exact", *contrast, *fam, "lafam")


def _support_files(support: Path, shots: int | None) -> dict[str, list[Path]]:
    if shots is not None and shots < 1:
        raise Mistake(f"expected --shots of at least 1, but got {shots}.")
    folder = ImageFolder(support)
    return {name: find_images(support / name)[:shots] for name in folder.classes}


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
    print(f"\n{receipt_title(explanation)}\n\n{explanation.receipt()}")
    print(f"\nWithout one support at a time\n\n{support_audit(explanation)}\n")
    for found in case.counterfactuals:
        print(found)
    print()
