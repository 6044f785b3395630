"""Which supports carried a decision: what each added, and what is decided without it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from episodes.errors import Mistake
from fsl_explain.brief import as_html, brief
from fsl_explain.classifiers import Rule, SupportSet, Vote
from fsl_explain.explainers.evidence import Evidence, there
from fsl_explain.explainers.explanation import Explanation, expect_explanation
from fsl_explain.printable import shown


@dataclass(frozen=True)
class SupportAudit:
    """The say of every support in a decision, from cached embeddings alone; all tensors are on the CPU.

    Entries of supports that are not there are NaN, or the decision itself. A class that loses its only support has a
    score of minus infinity, or no votes.

    ``addends`` are w_k S_k, in the unit of the explained score; a negative one speaks against it. With one support left
    out the decision is the largest of ``scores_without`` and the class ``labels_without``, an index into ``classes``;
    it ``flips`` where that is another one. ``leads_without`` are the leads of the decided class over the best other,
    never above 0 where it flips. ``cells`` are the regions through which each support spoke, with the sign that they
    have in the explanation. ``classes`` are names.
    """

    addends: Float[Tensor, "*batch way shot"]
    scores_without: Float[Tensor, "*batch way shot way"]
    labels_without: Int[Tensor, "*batch way shot"]
    flips: Bool[Tensor, "*batch way shot"]
    leads_without: Float[Tensor, "*batch way shot"]
    cells: Float[Tensor, "*batch way shot h w"]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self)

    def _repr_html_(self) -> str:
        return as_html(str(self) if self.flips.dim() == 2 else repr(self))

    def __str__(self) -> str:
        self._expect_one()
        width = max(len(shown(name)) for name in self.classes) + 12
        rows = [f"{'left out':{width}}  {'its addend':>11}  {'lead without it':>15}"]
        spoken = [at for at in self.strongest_first() if self.addends[at] != 0 or self.flips[at]]
        for label, shot in spoken:
            verdict = f"  flips to {shown(self.classes[int(self.labels_without[label, shot])])}"
            name = f"{shown(self.classes[label])}, support {shot + 1}"
            numbers = f"{float(self.addends[label, shot]):+11.6f}  {float(self.leads_without[label, shot]):+15.6f}"
            rows.append(f"{name:{width}}  {numbers}{verdict if self.flips[label, shot] else ''}")
        silent = len(self.strongest_first()) - len(spoken)
        return "\n".join([*rows, f"the other {silent} have no say, and none flips it"] if silent else rows)

    def strongest_first(self) -> list[tuple[int, int]]:
        """Return (class, shot), from 0, from the support without which the decided class leads least on.

        Raises: ``ValueError`` for the audit of a batch.
        """
        self._expect_one()
        real = (~self.addends.isnan()).nonzero().tolist()
        return sorted(((label, shot) for label, shot in real), key=lambda at: float(self.leads_without[at]))

    def _expect_one(self) -> None:
        if self.flips.dim() != 2:
            raise Mistake("expected the audit of one query, but got that of a batch; index the explanation first.")


def support_audit(explanation: Explanation) -> SupportAudit:
    """Leave each support out in turn and decide again; no image is embedded again.

    A class that loses its only support cannot be decided. Rules that are fitted are fitted again for each, and a vote
    of all supports becomes one of all but the one left out.

    Raises: ``TypeError`` for no explanation; ``ValueError`` for one that was saved or sent without its rule or its
    similarity, because these have no name.
    """
    expect_explanation(explanation)
    evidence = explanation.evidence
    way, shot = evidence.supports.valid.shape[-2:]
    scores = decision_without_each(evidence).unflatten(0, (way, shot)).movedim((0, 1), (-3, -2)).cpu()
    real = ~explanation.similarities.isnan()
    usual = evidence.ranking.cpu().argmax(dim=-1)[..., None, None]
    labels = torch.where(real, scores.argmax(dim=-1), usual)
    kept = torch.nn.functional.one_hot(usual.expand(labels.shape), way).bool()
    own = scores.masked_fill(~kept, -torch.inf).amax(dim=-1)
    best_other = scores.masked_fill(kept, -torch.inf).amax(dim=-1)
    return SupportAudit(
        addends=explanation.support_weights * explanation.similarities,
        scores_without=scores.masked_fill(~real[..., None], torch.nan),
        labels_without=labels,
        flips=labels != usual,
        leads_without=(own - best_other).masked_fill(~real, torch.nan),
        cells=explanation.support_cells,
        classes=explanation.decision.classes,
    )


def decision_without_each(evidence: Evidence) -> Float[Tensor, "supports *batch way"]:
    """Return the decision's scores with each support left out in turn, class after class."""
    supports, query = evidence.supports, evidence.embedding
    rule, similarity = there(evidence.rule), there(evidence.similarity)
    way, shot = supports.valid.shape[-2:]
    apart = torch.eye(way * shot, dtype=torch.bool, device=query.device).unflatten(1, (way, shot))
    others = ~apart.reshape(way * shot, *(1,) * (query.dim() - 1), way, shot)
    fewer = SupportSet(supports.embeddings, supports.valid & others, supports.classes, None, supports.unlabeled)
    return _for_fewer(rule, int(supports.valid.sum(dim=(-2, -1)).amin())).decision_scores(query, fewer, similarity)


def _for_fewer(rule: Rule, supports: int) -> Rule:
    """Let a vote of all supports be a vote of all but the one left out."""
    return rule.of(supports - 1) if isinstance(rule, Vote) and rule.k == supports else rule
