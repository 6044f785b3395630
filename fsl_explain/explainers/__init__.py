"""Explanations of similarity decisions."""

from fsl_explain.explainers.correspondence import Correspondence, correspondence
from fsl_explain.explainers.explain import explain, saliency
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods import METHODS
from fsl_explain.explainers.receipt import Receipt
from fsl_explain.explainers.support_audit import SupportAudit, support_audit

__all__ = [
    "METHODS",
    "Correspondence",
    "Explanation",
    "Receipt",
    "SupportAudit",
    "correspondence",
    "explain",
    "saliency",
    "support_audit",
]
