"""The decision of Relation Network: the relation of the query to the sum of a class's maps.

Source: Sung et al., 2018, Section 3.2: of several shots the maps of a class are summed before they are compared.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import prototypes
from fsl_explain.classifiers.decision import SupportSet, Weights, every_valid
from fsl_explain.classifiers.relation_network import RelationNetwork
from fsl_explain.similarities import Similarity


@dataclass(frozen=True)
class RelationRule:
    """Scores each class by a relation module, ``similarity=RelationNetwork.load(path)``; in (0, 1).

    Explained by integration. Raises: ``ValueError`` for another similarity, or classes of different numbers of shots.
    """

    is_linear_in_embeddings: ClassVar[bool] = False

    def compared_by(self, similarity: Similarity, supports: SupportSet) -> Similarity:
        """Return the module that multiplies the mean of a class's maps by its shots, which is their sum.

        Raises: ``ValueError`` as the class says.
        """
        if not isinstance(similarity, RelationNetwork):
            raise Mistake(
                "the rule relation-network compares by a relation module, but the similarity is none; give "
                "similarity=RelationNetwork.load(path), or in a configuration similarity = 'relation' with its "
                "relation_checkpoint."
            )
        counts = supports.valid.sum(dim=-1)
        shots = int(counts.amax())
        if bool(((counts != shots) & (counts != 0)).any()):
            raise Mistake(
                "the rule relation-network sums the maps of a class, so that classes of different numbers of shots "
                "cannot be compared; give all as many."
            )
        return replace(similarity, shots=max(shots, 1))

    def class_scores(
        self, query: Float[Tensor, "*#batch channel"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "*batch way"]:
        """Return the relation to the sum of each class's maps, minus infinity without a support."""
        return prototypes.class_scores(query, supports, self.compared_by(similarity, supports))

    decision_scores = class_scores
    voters: ClassVar["staticmethod[..., Tensor]"] = staticmethod(every_valid)

    def weights(
        self,
        class_weights: Float[Tensor, "*batch way"],
        query: Float[Tensor, "*batch channel"],
        supports: SupportSet,
        similarity: Similarity,
    ) -> Weights:
        """Give the supports of a class equal parts in the one relation to all of them."""
        return prototypes.weights(class_weights, query, supports, self.compared_by(similarity, supports))

    def compared_with(self, supports: SupportSet, similarity: Similarity) -> SupportSet:
        """Return the mean of a class in the place of each of its supports."""
        return prototypes.compared_with(supports, self.compared_by(similarity, supports))


RELATION_NETWORK = RelationRule()
