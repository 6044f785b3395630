"""Explainers by name."""

from episodes.naming import unknown_name
from fsl_explain.explainers.method import Method
from fsl_explain.explainers.methods.ablation_cam import ABLATION_CAM
from fsl_explain.explainers.methods.baselines import ALL_ONES, CENTER_PIXEL, CENTERED_GAUSSIAN, RANDOM_BLURRED
from fsl_explain.explainers.methods.cellwise_cam import HIRESCAM, LAYERCAM
from fsl_explain.explainers.methods.eigen_cam import EIGEN_CAM
from fsl_explain.explainers.methods.exact import CONTRAST, EXACT, LOG_PROBABILITY, VERIFICATION
from fsl_explain.explainers.methods.fam import FAM
from fsl_explain.explainers.methods.grad_cam import GRAD_CAM
from fsl_explain.explainers.methods.grad_cam_plus_plus import GRAD_CAM_PLUS_PLUS
from fsl_explain.explainers.methods.lafam import LAFAM
from fsl_explain.explainers.methods.occlusion import OCCLUSION
from fsl_explain.explainers.methods.relax import RELAX, U_RELAX
from fsl_explain.explainers.methods.score_cam import SCORE_CAM
from fsl_explain.explainers.methods.xgrad_cam import XGRAD_CAM

METHODS: dict[str, Method] = {
    "exact": EXACT,
    "contrast": CONTRAST,
    "log-probability": LOG_PROBABILITY,
    "verification": VERIFICATION,
    "fam": FAM,
    "lafam": LAFAM,
    "grad-cam": GRAD_CAM,
    "grad-cam++": GRAD_CAM_PLUS_PLUS,
    "xgrad-cam": XGRAD_CAM,
    "hirescam": HIRESCAM,
    "layercam": LAYERCAM,
    "eigen-cam": EIGEN_CAM,
    "score-cam": SCORE_CAM,
    "ablation-cam": ABLATION_CAM,
    "occlusion": OCCLUSION,
    "relax": RELAX,
    "u-relax": U_RELAX,
    "all-ones": ALL_ONES,
    "centered-gaussian": CENTERED_GAUSSIAN,
    "random-blurred": RANDOM_BLURRED,
    "center-pixel": CENTER_PIXEL,
}
TRIVIAL = ("all-ones", "centered-gaussian", "random-blurred", "center-pixel")
"""Maps that do not look at the image."""


def name_of(method: str | Method) -> str:
    """Return the name of an explainer that was given by name or as an object."""
    if isinstance(method, str):
        return method
    return next((name for name, known in METHODS.items() if known is method), method.name)


def find_method(method: str | Method) -> Method:
    """Return an explainer by name, or the one given.

    Raises: ``LookupError`` with the nearest names.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    return METHODS[method]
