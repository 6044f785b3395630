"""What an episode decides and why: both sides, what every support adds, and what is decided without it."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import numpy as np

from episodes.box_formats import Box, whole_pixels
from episodes.errors import Mistake, UnknownName
from fsl_explain.classifiers import named_rule
from fsl_explain.explainers.analysis.counterfactual import counterfactual_of
from fsl_explain.explainers.analysis.support_audit import support_audit
from fsl_explain.explainers.choice import Choice, find_similarity
from fsl_explain.explainers.compared import Compared
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.report import Case, Page, render_page
from fsl_explain.report.numbers_sent import finite
from fsl_explain.serve.box_text import box_as_text
from fsl_explain.serve.episode import Support, SupportFolder, by_class, check_supports, is_among
from fsl_explain.serve.offered import offered_details, offered_methods
from fsl_explain.serve.why import Shown, why

SHOWN_SUPPORTS = 60
SUPPORTS = "supports = {name: encoder.preprocess([read_image(one) for one in of]) for name, of in files.items()}"


@dataclass(frozen=True)
class Asked:
    """One decision over supports, and what is to be explained of it."""

    query: str
    supports: Sequence[Support]
    box: Box | None = None
    rule: str = "mean-similarity"
    similarity: str = "cosine"
    method: str = "contrast"
    target: str | None = None
    against: str | None = None
    detail: int = 0
    biases: str = "drawn"

    @property
    def places(self) -> list[tuple[int, int, str, str]]:
        """Class, shot, image and label of every support, in the order of the classes."""
        groups = by_class(self.supports)
        return [
            (label, shot, image, name)
            for label, (name, images) in enumerate(groups.items())
            for shot, image in enumerate(images)
        ]


def explained(folder: SupportFolder, asked: Asked) -> tuple[Explanation, Compared, Choice]:
    """Decide and explain. Raises: ``ValueError`` or ``LookupError`` in one sentence, as ``explain``."""
    check_supports(asked.supports)
    METHODS.checked(asked.method)
    if asked.detail not in offered_details(folder.encoder) or asked.biases not in ("drawn", "apart"):
        raise UnknownName("expected a detail that this encoder can draw, and biases drawn or apart.")
    compared = folder.compared(asked.query, asked.box, asked.supports, asked.similarity, asked.detail, asked.biases)
    fitting = offered_methods(folder.encoder, find_similarity(asked.similarity, compared))
    if asked.method not in fitting:
        raise UnknownName(f"{asked.method} does not fit this encoder; choose among {', '.join(fitting)}.")
    if METHODS[asked.method].has_rivals and len(by_class(asked.supports)) < 2:
        raise Mistake("a contrast compares two classes, but there is only one; add a support of another class.")
    choice = Choice(named_rule(asked.rule, None, None), asked.similarity, asked.target, asked.against)
    choice = choice.meant_for(METHODS[asked.method].explains)
    return explain_compared(compared, asked.method, choice)[0], compared, choice


def episode_answer(folder: SupportFolder, asked: Asked) -> dict[str, Any]:
    """Return the decision and its explanation as the page draws them."""
    explanation, compared, choice = explained(folder, asked)
    decision = explanation.decision
    scores = decision.scores.tolist()
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    call = call_of(folder, asked)
    shown = {(label, shot): _shown(folder, image, name) for label, shot, image, name in asked.places[:SHOWN_SUPPORTS]}
    query = Shown(folder.name_of(asked.query), seen_address(asked.query, asked.box))
    return {
        "decision": {
            "name": decision.name,
            "scores": [{"name": decision.classes[place], "score": finite(scores[place])} for place in order],
        },
        "sentence": _sentence(decision.classes, scores, order),
        "why": why(explanation, query, shown, call=call, title=f"Why {decision.name}?"),
        "audit": _audit(explanation, asked),
        "counterfactual": _counterfactual(compared, choice),
        "notes": _notes(folder, asked),
        "call": call,
    }


def _sentence(classes: Sequence[str], scores: Sequence[float], order: Sequence[int]) -> str:
    first = f"Decided: {classes[order[0]]}, score {scores[order[0]]:.4f}."
    if len(order) < 2:
        return first
    return f"{first} Runner-up: {classes[order[1]]}, score {scores[order[1]]:.4f}."


def _shown(folder: SupportFolder, image: str, label: str) -> Shown:
    picture = None if image.startswith("text:") else seen_address(image, None)
    return Shown(f"{label}: {folder.name_of(image)}", picture, {"image": image, "label": label})


def seen_address(image: str, box: Box | None) -> str:
    """Return where an image is shown as the network sees it."""
    return f"/api/seen?{urlencode({'query': image, **box_as_text(box)})}"


def _audit(explanation: Explanation, asked: Asked) -> list[dict[str, Any]]:
    audit = support_audit(explanation)
    found = [
        {
            "image": image,
            "label": name,
            "addend": finite(float(audit.addends[label, shot])),
            "lead_without": finite(float(audit.leads_without[label, shot])),
            "flips": bool(audit.flips[label, shot]),
            "label_without": audit.classes[int(audit.labels_without[label, shot])],
        }
        for label, shot, image, name in asked.places
    ]
    return sorted(found, key=lambda one: float("inf") if one["lead_without"] is None else one["lead_without"])


def _counterfactual(compared: Compared, choice: Choice) -> str | None:
    similarity = find_similarity(choice.similarity, compared)
    whole = compared.encoder.reading.tail.is_network
    if len(compared.supports.classes) < 2 or whole or not callable(getattr(similarity, "form", None)):
        return None
    return str(counterfactual_of(compared, choice, "remove"))


def _notes(folder: SupportFolder, asked: Asked) -> list[str]:
    if not is_among(asked.query, asked.box, asked.supports):
        return []
    name = folder.name_of(asked.query)
    return [f"{name} is one of its own supports, and is like itself; take it away to see what else decides."]


def call_of(folder: SupportFolder, asked: Asked) -> str:
    """Return the Python that gives the same explanation."""
    options: Mapping[str, str | int | None] = {
        "method": asked.method,
        "rule": asked.rule,
        "similarity": asked.similarity,
        "target": asked.target,
        "against": asked.against,
        "detail": asked.detail or None,
        "biases": asked.biases if asked.detail else None,
    }
    written = ", ".join(f"{name}={value!r}" for name, value in options.items() if value is not None)
    groups = by_class(asked.supports)
    if any(one.image.startswith("text:") for one in asked.supports):
        prompts = {name: [image.removeprefix("text:") for image in images] for name, images in groups.items()}
        supports, given = f"prompts = {prompts!r}", "text=prompts"
    else:
        lines = [
            f"    {name!r}: [{', '.join(_file(folder, one) for one in images)}]," for name, images in groups.items()
        ]
        supports = "\n".join(["files = {", *lines, "}", SUPPORTS])
        given = "supports"
    crop = "" if asked.box is None else f".crop({whole_pixels(asked.box)})"
    return (
        "import fsl_explain\nfrom episodes import read_image\n\n"
        f"encoder = {folder.made_by}\nfolder = {str(folder.folder.root)!r}\n{supports}\n"
        f"query = encoder.preprocess([read_image({_file(folder, asked.query)}){crop}])[0]\n"
        f"explanation = fsl_explain.explain(encoder, query, {given}, {written})\nprint(explanation.receipt())"
    )


def _file(folder: SupportFolder, image: str) -> str:
    """Return where a file is: in the folder of supports, or where the user has it."""
    if image.startswith("upload:"):
        return '"the file that was given"'
    return f"folder + {'/' + folder.path_of(image).relative_to(folder.folder.root).as_posix()!r}"


def page_of(folder: SupportFolder, asked: Asked) -> str:
    """Return the self-contained page of this decision."""
    explanation, _, _ = explained(folder, asked)
    names = {name: [folder.name_of(one) for one in images] for name, images in by_class(asked.supports).items()}
    texts = any(one.image.startswith("text:") for one in asked.supports)
    case = Case(
        "The decision",
        {asked.method: explanation},
        query_name=folder.name_of(asked.query),
        support_names={} if texts else names,
        prompts=names if texts else {},
    )
    title = f"Why is {folder.name_of(asked.query)} taken for {explanation.decision.name}?"
    facts = {"Encoder": folder.encoder.description, "Decision": f"{asked.rule}, {asked.similarity} similarity"}
    return render_page(Page(title=title, facts=facts, cases=(case,), notes=_notes(folder, asked)))


def arrays_of(folder: SupportFolder, asked: Asked) -> bytes:
    """Return the numbers of the explanation as one ``.npz`` file, by their public names."""
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **explained(folder, asked)[0].to_numpy())
    return written.getvalue()


def json_of(folder: SupportFolder, asked: Asked) -> str:
    """Return the decision and its explanation as JSON."""
    return json.dumps(episode_answer(folder, asked))
