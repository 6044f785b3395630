"""All forms of a similarity, and what an explanation reads of them first."""

from typing import TypeAlias, Union

from jaxtyping import Float
from torch import Tensor

from fsl_explain.similarities.form import Form, SideBySideForms
from fsl_explain.similarities.pair_form import PairForm

AnyForm: TypeAlias = Union[Form, SideBySideForms, PairForm]  # noqa: UP007 - a name that is checked at run time
"""What ``form`` of a similarity returns: of whole embeddings, of several scales, or of pairs of cells."""


def effective_reference(
    form: AnyForm, weights: Float[Tensor, "*batch way shot"], supports: Float[Tensor, "*episodes way shot channel"]
) -> Float[Tensor, "*batch channel"]:
    """Return g = Σ_k w_k (M_k q'_k + u_k), one vector per query whatever the number of supports.

    Its inner product with a part of the query's embedding is what that part adds to Σ_k w_k S_k; a negative one speaks
    against it. ``weights`` are those of a decision, ``form`` is that of the query's similarities to the supports.
    """
    return form.reference(weights, supports)
