"""Which block and which head of a transformer read what an explanation found in each patch."""

from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.explainers.explanation import Explanation, expect_explanation
from fsl_explain.heads import linearize
from fsl_explain.readouts.stream import StreamTrace


def heads_and_blocks(explanation: Explanation) -> Float[Tensor, "block head h w"]:
    """Split the cells of an explanation by the block and the head whose attention read them, on the CPU.

    They are signed, in the unit of the score, and sum over blocks and heads to the cells. Of ``class-direct`` these are
    the direct effects of Gandelsman et al., 2024; of ``class`` each is carried through the class token's later life.

    Source: Gandelsman, Efros, Steinhardt, "Interpreting CLIP's Image Representation via Text-Based Decomposition".

    Raises: ``ValueError`` for a batch, an explanation whose network was left behind, a method that does not add up, or
    a readout by which no class token and no attention pooling reads the patches; ``TypeError`` for no explanation.
    """
    expect_explanation(explanation)
    question = explanation.question
    if explanation.score.dim() != 0:
        raise Mistake("expected the explanation of one query, but got that of a batch; index it.")
    if question is None:
        raise Mistake("expected an explanation with its network, but this one was saved or sent; ask before that.")
    trace = question.query.trace
    if not isinstance(trace, StreamTrace) or not explanation.signed:
        raise Mistake(
            "expected exact or contrast of an embedding that a class token or attention pooling gathered, but got "
            f"{explanation.method} of another; use readout='class', 'class-direct', 'class-last' or 'attention-pool'."
        )
    pulled = linearize(question.head, question.query.pooled).pull_back(question.reference)
    return trace.by_head(pulled).cpu()
