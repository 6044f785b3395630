"""Few-shot decision rules by name."""

from fsl_explain.classifiers import mean_similarity, prototypes
from fsl_explain.classifiers.decision import Decision, Rule, SupportSet, decide, padded_index, support_set

RULES: dict[str, Rule] = {"mean-similarity": mean_similarity, "prototype": prototypes}

__all__ = ["RULES", "Decision", "Rule", "SupportSet", "decide", "padded_index", "support_set"]
