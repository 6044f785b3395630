"""Explanations of similarity decisions."""

from fsl_explain.explainers.correspondence import Correspondence, correspondence
from fsl_explain.explainers.counterfactual import Counterfactual, counterfactual
from fsl_explain.explainers.explain import explain, saliency
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods import METHODS
from fsl_explain.explainers.receipt import Receipt
from fsl_explain.explainers.support_audit import SupportAudit, support_audit

__all__ = [
    "METHODS",
    "Correspondence",
    "Counterfactual",
    "Explanation",
    "Receipt",
    "SupportAudit",
    "correspondence",
    "counterfactual",
    "explain",
    "saliency",
    "support_audit",
]
