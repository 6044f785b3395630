"""The support audit equals deciding again from scratch without each support."""

import pytest
import torch
from decision_parts import BY_NAMED
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import explain, support_audit
from fsl_explain.classifiers import KnnVote, MajorityVote
from fsl_explain.explainers.choice import find_rule
from fsl_explain.registries import TRANSDUCTIVE_RULES

SHOTS = {"a": 3, "b": 1, "c": 2}
QUERIES = 4


def supports_without(label=None, shot=None):
    every = {name: images(shots, seed=20 + shots) for name, shots in SHOTS.items()}
    if label is not None:
        kept = [k for k in range(SHOTS[label]) if k != shot]
        every = {name: group[kept] if name == label else group for name, group in every.items()}
    return {name: group for name, group in every.items() if len(group)}


@pytest.mark.parametrize("rule", [*BY_NAMED, KnnVote(k=4), KnnVote(k=5), MajorityVote(k=3)], ids=str)
def test_equals_deciding_again_without_each_support(rule):
    encoder, queries = tiny_encoder(random_head("linear")), images(QUERIES, seed=10)
    asked = {"rule": find_rule(rule), **({"unlabeled": queries} if rule in TRANSDUCTIVE_RULES else {})}
    found = explain(encoder, queries, supports_without(), method="exact", **asked)
    audit = support_audit(found)
    for label, name in enumerate(SHOTS):
        for shot in range(SHOTS[name]):
            fewer = explain(encoder, queries, supports_without(name, shot), method="lafam", **asked)
            decided = [fewer.decision.classes[i] for i in fewer.decision.label.tolist()]
            assert [audit.classes[i] for i in audit.labels_without[:, label, shot].tolist()] == decided
            kept = [audit.classes.index(other) for other in fewer.decision.classes]
            scores = audit.scores_without[:, label, shot]
            torch.testing.assert_close(scores[:, kept], fewer.decision.scores)
            usual = found.decision.label
            assert torch.equal(audit.flips[:, label, shot], audit.labels_without[:, label, shot] != usual)


def test_addends_are_those_of_the_receipt_and_padding_says_nothing():
    found = explain(tiny_encoder(), images(seed=10), supports_without(), method="contrast")
    audit = support_audit(found)
    spoken = {(line.class_name, line.shot): line.amount for line in found.receipt().lines}
    for (name, shot), amount in spoken.items():
        assert float(audit.addends[audit.classes.index(name), shot]) == pytest.approx(amount)
    real = torch.tensor([[shot < count for shot in range(3)] for count in SHOTS.values()])
    assert torch.equal(~audit.addends.isnan(), real)
    assert not audit.flips[~real].any()
    assert audit.leads_without[~real].isnan().all()
    assert torch.equal(audit.cells.nan_to_num(), found.support_cells.nan_to_num())


def test_a_decision_that_hangs_on_one_support_is_found():
    """The query is one support's twin; without it the other class wins."""
    red, green = torch.eye(3)[:2, :, None, None].expand(2, 3, 6, 8).double()
    mixed = 0.6 * red + 0.8 * green
    encoder = tiny_encoder()
    supports = {"red": torch.stack([red, green]), "mixed": mixed[None]}
    found = explain(encoder, red, supports, method="contrast", rule="nearest-neighbor")
    audit = support_audit(found)
    assert found.decision.name == "red"
    assert audit.flips.tolist() == [[True, False], [False, False]]
    assert audit.strongest_first()[0] == (0, 0)
    assert "red, support 1" in str(audit).splitlines()[1]
    assert "flips to mixed" in str(audit)


def test_a_batch_is_refused_in_writing():
    audit = support_audit(explain(tiny_encoder(), images(2, seed=10), supports_without()))
    for asked in (audit.__str__, audit.strongest_first):
        with pytest.raises(ValueError, match="expected the audit of one query, but got that of a batch"):
            asked()


def test_the_lead_is_that_of_the_decided_class_over_the_best_other():
    found = explain(tiny_encoder(), images(9, seed=10), supports_without(), method="exact", rule="nearest-neighbor")
    audit = support_audit(found)
    for query, decided in enumerate(found.decision.label.tolist()):
        for label, shots in enumerate(SHOTS.values()):
            for shot in range(shots):
                scores = audit.scores_without[query, label, shot].tolist()
                others = [score for place, score in enumerate(scores) if place != decided]
                assert float(audit.leads_without[query, label, shot]) == pytest.approx(scores[decided] - max(others))
    real = ~audit.leads_without.isnan()
    assert audit.flips.any()
    assert torch.equal(audit.flips[real], audit.leads_without[real] < 0)


def test_the_audit_is_of_the_decision_whichever_class_is_explained():
    """Only supports of the explained class have an addend, but one of the decided class flips the decision."""
    red, green = torch.eye(3)[:2, :, None, None].expand(2, 3, 6, 8).double()
    supports = {"red": red[None], "mixed": (0.6 * red + 0.8 * green)[None], "green": green[None]}
    plain = support_audit(explain(tiny_encoder(), red, supports))
    loser = support_audit(explain(tiny_encoder(), red, supports, target="green"))
    assert torch.equal(loser.flips, plain.flips)
    assert torch.equal(loser.leads_without, plain.leads_without)
    assert loser.flips.flatten().tolist() == [True, False, False]
    assert loser.addends[0] == 0
    rows = str(loser).splitlines()
    assert "red, support 1" in rows[1]
    assert rows[1].endswith("flips to mixed")
    assert "green, support 1" in rows[2]
    assert rows[3] == "the other 1 have no say, and none flips it"
