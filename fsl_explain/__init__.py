"""Explanations of decisions that vision models make by similarity."""

from fsl_explain.encoder import Encoder, Features
from fsl_explain.explainers import (
    Explanation,
    OcclusionOptions,
    Relax,
    RelaxOptions,
    correspondence,
    counterfactual,
    explain,
    load_explanation,
    occlusion_method,
    relax,
    relax_method,
    saliency,
    support_audit,
)

__version__ = "0.1.0"
__all__ = [
    "Encoder",
    "Explanation",
    "Features",
    "OcclusionOptions",
    "Relax",
    "RelaxOptions",
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
