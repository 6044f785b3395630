"""How an evaluation decides: a rule and a similarity, by name or as objects."""

from dataclasses import dataclass

from fsl_explain.classifiers import RULES, Rule, named_rule
from fsl_explain.classifiers.local.local_features import rule_for
from fsl_explain.encoder import Features
from fsl_explain.scales import Scales, compared_at
from fsl_explain.similarities import SIMILARITIES, Similarity


@dataclass(frozen=True)
class DecidedBy:
    """A rule and a similarity; those with a name are kept by it, so that the choice can be pickled."""

    chosen_rule: str | Rule
    chosen_similarity: str | Similarity

    @classmethod
    def of(cls, rule: str | Rule, similarity: str | Similarity, scales: Scales | None = None) -> "DecidedBy":
        """Check the names; of images seen at ``scales`` the similarity is the mean over them.

        Raises: ``LookupError`` with the nearest names; ``ValueError`` for a similarity at other scales.
        """
        compared = compared_at(scales, SIMILARITIES.find(similarity))
        found = cls(RULES.name_of(rule) or rule, SIMILARITIES.name_of(compared) or compared)
        _ = found.rule, found.similarity
        return found

    def over(self, features: Features) -> "DecidedBy":
        """Return the same for these features: a rule that compares cells is told how many channels these have."""
        rule = rule_for(self.rule, features)
        return self if rule is self.rule else DecidedBy(rule, self.chosen_similarity)

    @property
    def rule(self) -> Rule:
        """The rule itself."""
        return named_rule(self.chosen_rule) if isinstance(self.chosen_rule, str) else self.chosen_rule

    @property
    def similarity(self) -> Similarity:
        """The similarity itself."""
        return SIMILARITIES.find(self.chosen_similarity)
