"""Explanations of decisions that vision models make by similarity."""

from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers import Explanation, correspondence, counterfactual, explain, saliency, support_audit

__version__ = "0.1.0"
__all__ = [
    "Encoder",
    "Explanation",
    "Features",
    "correspondence",
    "counterfactual",
    "explain",
    "saliency",
    "support_audit",
]
