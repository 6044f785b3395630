"""A contrast is the difference of two explanations of scores, part by part."""

import pytest
import torch
from decision_parts import PAIRS, QUICK_RULES
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared

CLASSES = {"a": 3, "b": 1, "c": 2, "d": 2}
PARTS = (
    *("score", "contributions", "cells", "bias", "saliency", "support_cells", "support_bias"),
    *("support_weights", "support_shares", "support_biases"),
)


def ragged_supports(**shots):
    return {name: images(count, seed=20 + i) for i, (name, count) in enumerate(shots.items())}


@pytest.fixture(scope="module")
def compared():
    return compare(tiny_encoder(random_head("linear")), images(2, seed=10), ragged_supports(**CLASSES))


@pytest.mark.parametrize(("rule", "similarity"), PAIRS, ids=map("-".join, PAIRS))
@pytest.mark.parametrize("against", ["others", 1, "c", [1, 2], ["b", 2], [0, 3]], ids=str)
def test_a_contrast_is_the_difference_of_two_exact_explanations(against, similarity, rule, compared):
    names, target = list(CLASSES), "b" if against == [0, 3] else "a"
    chosen = [name for name in names if name != target] if against == "others" else against
    rivals = [names[r] if isinstance(r, int) else r for r in (chosen if isinstance(chosen, list) else [chosen])]
    choice = {"rule": QUICK_RULES[rule], "similarity": similarity}
    contrast = explain_compared(compared, "contrast", Choice(**choice, target=target, against=against))
    mine = explain_compared(compared, "exact", Choice(**choice, target=target))
    theirs = [explain_compared(compared, "exact", Choice(**choice, target=rival)) for rival in rivals]
    for name in PARTS:
        mean = sum(getattr(rival, name) for rival in theirs) / len(theirs)
        torch.testing.assert_close(getattr(contrast, name), getattr(mine, name) - mean, equal_nan=True, msg=name)
    assert contrast.constants.keys() == mine.constants.keys()
    for name, value in contrast.constants.items():
        torch.testing.assert_close(value, mine.constants[name] - sum(r.constants[name] for r in theirs) / len(theirs))
    expected = torch.tensor([(name in rivals) / len(rivals) for name in names], dtype=torch.float64)
    torch.testing.assert_close(contrast.against, expected.expand(2, -1))


def test_without_a_named_rival_each_query_is_contrasted_with_its_own_runner_up():
    encoder, queries, supports = tiny_encoder(), images(6, seed=10), ragged_supports(a=3, b=1, c=2)
    contrast = explain(encoder, queries, supports, "contrast")
    ranked = contrast.decision.scores.argsort(descending=True)
    assert len(set(ranked[:, 1].tolist())) > 1
    assert torch.equal(contrast.target, ranked[:, 0])
    assert torch.equal(contrast.against.argmax(dim=-1), ranked[:, 1])
    gap = contrast.decision.scores.gather(-1, ranked[:, :2]) @ torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(contrast.score, gap)
    assert (contrast.score > 0).all()


def test_a_target_that_lost_is_contrasted_with_the_winner():
    encoder, query, supports = tiny_encoder(), images(seed=10), ragged_supports(a=3, b=1, c=2)
    scores = explain(encoder, query, supports).decision.scores
    loser = explain(encoder, query, supports, "contrast", target=int(scores.argmin()))
    assert loser.against.argmax() == scores.argmax()
    torch.testing.assert_close(loser.score, scores.min() - scores.max())


def test_the_lead_of_the_nearest_image_is_the_margin_of_retrieval():
    """Every image a class of its own: the contrast with the runner-up is the first similarity less the second."""
    encoder, queries, gallery = tiny_encoder(random_head("linear")), images(3, seed=1), images(7, 1, seed=2)
    found = explain(encoder, queries, gallery, "contrast", "nearest-neighbor")
    similarities = torch.nn.functional.cosine_similarity(
        encoder(queries).embedding[:, None], encoder(gallery[:, 0]).embedding, dim=-1
    )
    first, second = similarities.topk(2).values.T
    torch.testing.assert_close(found.score, first - second)
    torch.testing.assert_close(explain(encoder, queries, gallery, "exact", "nearest-neighbor").score, first)


def test_a_contrast_leaves_out_a_class_without_a_vote():
    encoder, query, supports = tiny_encoder(), images(seed=10), ragged_supports(a=3, b=3, c=3, d=3)
    vote = KnnVote(k=4)
    plain = explain(encoder, query, supports, "exact", vote)
    heard = ~plain.decision.scores.isneginf()
    assert 2 <= int(heard.sum()) < 4, "the example has to have a silent class and a rival that is heard"
    target = plain.target
    contrast = explain(encoder, query, supports, "contrast", vote, against="others")
    rivals = [c for c in heard.nonzero().flatten().tolist() if c != target]
    expected = torch.zeros(4, dtype=torch.float64)
    expected[rivals] = 1 / len(rivals)
    torch.testing.assert_close(contrast.against, expected)
    torch.testing.assert_close(contrast.score, plain.score - plain.decision.scores[rivals].mean())
    assert not contrast.support_weights[~heard].any()


def test_where_nobody_else_has_a_vote_the_score_itself_is_explained():
    encoder, query, supports = tiny_encoder(), images(seed=10), ragged_supports(a=3, b=3)
    contrast = explain(encoder, query, supports, "contrast", KnnVote(k=1))
    plain = explain(encoder, query, supports, "exact", KnnVote(k=1))
    assert not contrast.against.any()
    torch.testing.assert_close(contrast.score, plain.score)
    torch.testing.assert_close(contrast.cells, plain.cells)


@pytest.mark.parametrize("method", ["exact", "contrast", "log-probability", "fam", "grad-cam"])
def test_a_target_without_a_vote_cannot_be_explained(method):
    encoder, query, supports = tiny_encoder(), images(seed=10), ragged_supports(crow=2, jay=2)
    silent = int(1 - explain(encoder, query, supports, rule=KnnVote(k=1)).target)
    sentence = rf"expected a target with at least one of the nearest neighbors, but {['crow', 'jay'][silent]} has none"
    with pytest.raises(ValueError, match=sentence):
        explain(encoder, query, supports, method, KnnVote(k=1), target=silent)
