"""What the page says about an explanation, in words a user knows: class names, never indices."""

from fsl_explain.explainers import Explanation
from fsl_explain.pictures.picture import named_rivals, rivals

DESCRIPTIONS = {
    "exact": "Each cell's share of the score of {target}.",
    "contrast": "Each cell's share of the lead of {target} over {rivals}.",
    "log-probability": "Each cell's share of the log-probability of {target}.",
    "verification": "Each cell's share of the score of {target} minus the threshold.",
    "grad-cam": "Activation maps weighted by the score's mean gradient, positive part. It does not add up.",
    "fam": "Activation maps weighted by each channel's share of the similarity to {target} (FAM, Eqs. 11–18).",
    "lafam": "Mean of all activation maps. It knows neither the classes nor the supports.",
    "all-ones": "Baseline: keeps every pixel, whatever the image.",
    "random-blurred": "Baseline: blurred noise.",
    "center-pixel": "Baseline: the one pixel at the center.",
    "centered-gaussian": "Baseline: a bump at the center, whatever the image.",
}
HOW_TO_READ = (
    "The model gives a query the class whose supports it finds most similar. Each map shows where that similarity "
    "comes from, and the bars show which channels of the last layer carry it.",
    "The exact and contrast maps are exact at the last activation maps with frozen gains: their cells, or their "
    "channels, and a bias add up to the score, and each receipt shows by how much they miss it. They make no claim "
    "about single pixels; between the cells a map is interpolated.",
    "Red and blue maps have a sign and each has a scale of its own, with zero in the middle. Maps from dark to bright "
    "run from 0 to 1 and show rank, not amounts. Overlays leave the photograph visible where a map is near zero.",
)

HOW_TO_READ_PROMPTS = (
    "The supports are texts here: a score is the similarity of the image's embedding to those of a class's prompts. A "
    "text has no regions, so the maps are of the image alone. In such models images and texts lie apart, so that every "
    "score is low and holds much that all prompts share; the contrast of two prompts shows what tells them apart."
)


def description(explanation: Explanation) -> str:
    """Say in one sentence what a method's map shows; empty for a method this page does not know."""
    target = explanation.decision.classes[int(explanation.target)]
    return DESCRIPTIONS.get(explanation.method, "").format(target=target, rivals=rival_words(explanation))


def rival_words(explanation: Explanation) -> str:
    """Name the rivals of a contrast, all of them up to three."""
    names = [explanation.decision.classes[label] for label in rivals(explanation)]
    if not 1 < len(names) <= 3:
        return named_rivals(explanation) if names else ""
    return f"the mean of {', '.join(names[:-1])} and {names[-1]}"


def verdict(explanation: Explanation, truth: str | None) -> str:
    """Say what was decided and whether it is right."""
    decided = f"Decided: {explanation.decision.name}."
    if truth is None:
        return decided
    if truth == explanation.decision.name:
        return f"{decided} This is right."
    missing = "" if truth in explanation.decision.classes else ", which is not among the supports"
    return f"{decided} This is wrong: it is {truth}{missing}."


def marks(explanation: Explanation, label: int, truth: str | None) -> tuple[str, ...]:
    """Return the words that mark a class: predicted, true class."""
    name = explanation.decision.classes[label]
    predicted = ("predicted",) if label == int(explanation.decision.label) else ()
    return (*predicted, "true class") if name == truth else predicted
