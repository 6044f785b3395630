"""Explanations of similarity decisions."""

from fsl_explain.explainers.analysis.correspondence import Correspondence, correspondence
from fsl_explain.explainers.analysis.counterfactual import Counterfactual, counterfactual
from fsl_explain.explainers.analysis.support_audit import SupportAudit, support_audit
from fsl_explain.explainers.explaining import explain, saliency
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods.named import METHODS
from fsl_explain.explainers.methods.occlusion import OcclusionOptions, occlusion_method
from fsl_explain.explainers.methods.relax import Relax, RelaxOptions, relax, relax_method
from fsl_explain.explainers.receipt import Receipt
from fsl_explain.explainers.saved_explanation import load_explanation

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
    "load_explanation",
    "occlusion_method",
    "relax",
    "relax_method",
    "saliency",
    "support_audit",
]
