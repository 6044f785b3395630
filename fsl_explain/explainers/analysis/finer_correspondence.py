"""Correspondence with the query's cells as fine as its maps: each support cell's column is carried back on its own.

A column of a correspondence is linear in the query's embedding: c_r = w_k M_k G_q Q_r. Pulled back through the query's
head it is one weight a channel, and what it finds in the last maps is carried back to the finer ones.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.classifiers import has_own_form
from fsl_explain.explainers.analysis.correspondence import Correspondence, chosen_support, correspondence
from fsl_explain.explainers.contrast_weights import ClassReference
from fsl_explain.explainers.evidence import there
from fsl_explain.explainers.explanation import Explanation
from fsl_explain.explainers.question import Question
from fsl_explain.finer import OWN_BIASES
from fsl_explain.heads import linearize


def finer_correspondence(
    explanation: Explanation, *, label: ClassReference | None = None, shot: int | None = None
) -> Correspondence:
    """Split one support's addend over the query's finer cells × the support's cells.

    As ``correspondence``, of an explanation that was made with ``detail``: rows are the query's finer cells, columns
    the support's cells of the last maps. Columns sum to the same as before, and all entries to the addend w_k S_k. What
    the network's own biases carry is in the last row where they are kept apart. It takes a way back through the
    network for each cell of the support.

    Raises: as ``correspondence``; ``ValueError`` for an explanation without ``detail``, one whose network was left
    behind, or a rule that compares cells.
    """
    coarse = correspondence(explanation, label=label, shot=shot)
    question = explanation.question
    if question is None:
        raise Mistake("finer pairs need the network, which a saved explanation leaves behind; explain the image again.")
    if question.query.finer is None:
        raise Mistake("expected an explanation with detail, but its cells are those of the last maps; add detail=1.")
    if has_own_form(question.rule):
        raise Mistake(
            "a finer correspondence needs images that are compared as a whole, but this rule compares their cells; use "
            "correspondence, whose pairs are these cells."
        )
    chosen = chosen_support(explanation, label, shot)
    columns = _columns(explanation, question, chosen)
    pulled = linearize(question.head, question.query.pooled).pull_back(columns)
    drawn = question.drawn(question.query, pulled.to(question.query.pooled))
    beside = coarse.table[-1] + drawn.named.get(OWN_BIASES, pulled.new_zeros(len(pulled))).double().cpu()
    table = torch.cat([drawn.cells.flatten(start_dim=1).T.double().cpu(), beside[None]])
    return replace(coarse, table=table, shape=(drawn.cells.shape[-2], drawn.cells.shape[-1]))


def _columns(
    explanation: Explanation, question: Question, chosen: tuple[int, int]
) -> Float[Tensor, "columns embedding"]:
    """Return each column of the table as linear in the query's embedding, that of the support's biases last."""
    evidence = explanation.evidence
    place = tuple(slice(one, one + 1) for one in chosen)
    one_sided = evidence.embedding[..., None, None, :]
    form = there(evidence.similarity).form(one_sided, evidence.supports.embeddings[place])
    support = evidence.addends((place[0], place[1])).supports
    size = question.query.embedding.shape[-1]
    units = torch.cat([torch.eye(size), torch.zeros(1, size)]).to(support)  # the last row takes what has no query
    found = evidence.weights[place][..., None, None] * form.table(units, support)
    return found[0, 0, :-1].T
