"""Explainers by name."""

from episodes.naming import unknown_name
from fsl_explain.explainers.baselines import ALL_ONES, CENTERED_GAUSSIAN
from fsl_explain.explainers.decomposition import CONTRAST, EXACT, LOG_PROBABILITY, VERIFICATION
from fsl_explain.explainers.explanation import Method
from fsl_explain.explainers.fam import FAM
from fsl_explain.explainers.grad_cam import GRAD_CAM
from fsl_explain.explainers.lafam import LAFAM

METHODS: dict[str, Method] = {
    "exact": EXACT,
    "contrast": CONTRAST,
    "log-probability": LOG_PROBABILITY,
    "verification": VERIFICATION,
    "fam": FAM,
    "lafam": LAFAM,
    "grad-cam": GRAD_CAM,
    "all-ones": ALL_ONES,
    "centered-gaussian": CENTERED_GAUSSIAN,
}


def find_method(name: str) -> Method:
    """Return an explainer by name.

    Raises: ``LookupError`` with the nearest names.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]
