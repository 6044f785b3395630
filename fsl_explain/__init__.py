"""Explanations of decisions that vision models make by similarity."""

from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers import Explanation, explain, saliency

__version__ = "0.1.0"
__all__ = ["Encoder", "Explanation", "Features", "explain", "saliency"]
