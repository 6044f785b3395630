"""Explanations of similarity decisions."""

from fsl_explain.explainers.correspondence import Correspondence, correspondence
from fsl_explain.explainers.counterfactual import Counterfactual, counterfactual
from fsl_explain.explainers.explain import explain, saliency
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods import METHODS
from fsl_explain.explainers.occlusion import OcclusionOptions, occlusion_method
from fsl_explain.explainers.receipt import Receipt
from fsl_explain.explainers.relax import Relax, RelaxOptions, relax, relax_method
from fsl_explain.explainers.support_audit import SupportAudit, support_audit

__all__ = [
    "METHODS",
    "Correspondence",
    "Counterfactual",
    "Explanation",
    "OcclusionOptions",
    "Receipt",
    "Relax",
    "RelaxOptions",
    "SupportAudit",
    "correspondence",
    "counterfactual",
    "explain",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "support_audit",
]
