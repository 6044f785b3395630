"""How an evaluation decides: a rule and a similarity, by name or as objects."""

from dataclasses import dataclass

from episodes.naming import unknown_name
from fsl_explain.classifiers import RULES, Rule, named_rule
from fsl_explain.similarities import SIMILARITIES, Similarity


@dataclass(frozen=True)
class DecidedBy:
    """A rule and a similarity; those with a name are kept by it, so that the choice can be pickled."""

    chosen_rule: str | Rule
    chosen_similarity: str | Similarity

    @classmethod
    def of(cls, rule: str | Rule, similarity: str | Similarity) -> "DecidedBy":
        """Check the names. Raises: ``LookupError`` with the nearest ones."""
        named = next((name for name, known in RULES.items() if known is rule), rule)
        alike = next((name for name, known in SIMILARITIES.items() if known is similarity), similarity)
        found = cls(named, alike)
        _ = found.rule, found.similarity
        return found

    @property
    def rule(self) -> Rule:
        """The rule itself."""
        return named_rule(self.chosen_rule) if isinstance(self.chosen_rule, str) else self.chosen_rule

    @property
    def similarity(self) -> Similarity:
        """The similarity itself."""
        if not isinstance(self.chosen_similarity, str):
            return self.chosen_similarity
        if self.chosen_similarity not in SIMILARITIES:
            raise unknown_name("similarity", self.chosen_similarity, SIMILARITIES)
        return SIMILARITIES[self.chosen_similarity]
