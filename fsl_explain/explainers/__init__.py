"""Explanations of similarity decisions."""

from fsl_explain.explainers.explain import explain, saliency
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.methods import METHODS

__all__ = ["METHODS", "Explanation", "explain", "saliency"]
