"""Late interaction: each cell of the query looks for the cell of a support that is most like it.

Source: MaxSim of ColBERT (Khattab and Zaharia, 2020) and ColPali (Faysse et al., 2024), over cells in the place of
tokens. Those have one document; several supports of a class have equal parts in its score, as in FAM's Eq. 11.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from fsl_explain.classifiers.decision import SupportSet
from fsl_explain.classifiers.local.rule import LocalRule, without_padding
from fsl_explain.similarities import Similarity
from fsl_explain.similarities.pair_form import PairForm
from fsl_explain.similarities.similarity import uniform_weights


@dataclass(frozen=True)
class MaxSim(LocalRule):
    """Σ_p max_r s(x_p, y_r), the mean over a class's supports; from -P to P for P cells and the cosine.

    ``channels`` is as ``LocalRule`` says.
    """

    holds_frozen: ClassVar[str] = "which cell of a support is the most similar to each cell of the query"

    def scored(
        self, query: Float[Tensor, "query flat"], supports: SupportSet, similarity: Similarity
    ) -> Float[Tensor, "query way"]:
        """Add the largest similarities of the query's cells up."""
        best = self.table(query, supports, similarity).amax(dim=-1).sum(dim=-1)
        return best.masked_fill(~supports.valid, 0).sum(dim=-1) / supports.valid.sum(dim=-1)

    def frozen(self, query: Float[Tensor, "*batch flat"], supports: SupportSet, similarity: Similarity) -> PairForm:
        """Weigh by 1/K the pair of each cell and the most similar one, the first of several."""
        table = self.table(query, supports, similarity)
        chosen = torch.zeros_like(table).scatter_(-1, table.argmax(dim=-1, keepdim=True), 1)
        shares = uniform_weights(supports.embeddings, supports.valid)[..., None, None]
        return self.paired(without_padding(chosen * shares, supports.valid, 0.0), query, supports, similarity)


MAX_SIM = MaxSim()
