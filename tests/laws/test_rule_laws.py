"""What every rule has to obey, whatever it decides by."""

import math
from dataclasses import replace

import pytest
import torch
from decision_parts import QUICK_RULES, REFUSED, TAKEN_BY, similarities_of
from embedding_strategies import assert_equal, embeddings, quarters
from hypothesis import given, settings
from references import exact as reference
from shot_strategies import CHANNELS, CLASSES, SHOT, UNLABELED, WAY, shots, support_set_of

from fsl_explain.classifiers import RULES, KnnVote, MajorityVote, Rule, SupportSet, combined, similarities_to

SIMILARITIES = similarities_of(CHANNELS)
RULES_UNDER_TEST = QUICK_RULES | {"knn-vote-of-2": KnnVote(k=2, temperature=0.5), "majority-vote-of-2": MajorityVote(2)}

every_rule = pytest.mark.parametrize("name", RULES_UNDER_TEST)


def taken_by(name):
    """A rule with each of the similarities it takes."""
    return [(RULES_UNDER_TEST[name], SIMILARITIES[kind]) for kind in TAKEN_BY.get(name, SIMILARITIES)]


@pytest.mark.parametrize("rule", RULES_UNDER_TEST.values(), ids=RULES_UNDER_TEST)
def test_plays_its_role(rule):
    assert isinstance(rule, Rule)


@every_rule
@given(query=embeddings(2, CHANNELS), drawn=shots(), class_weights=quarters(2, WAY))
def test_a_combination_of_scores_is_the_weighted_similarities_and_the_constants(name, query, drawn, class_weights):
    supports = support_set_of(drawn)
    for rule, similarity in taken_by(name):
        scores = rule.class_scores(query, supports, similarity)
        asked = class_weights.masked_fill(scores.isneginf(), 0)
        found = rule.weights(asked, query, supports, similarity)
        addends = (found.supports * similarities_to(rule, query, supports, similarity)).flatten(start_dim=1)
        addends = torch.cat([addends, *(slope * query for slope in found.slopes.values())], dim=1)
        addends = torch.cat([addends, *(value[:, None] for value in found.constants.values())], dim=1)
        difference = (addends.sum(dim=1) - combined(asked, scores)).abs()
        assert difference.max() <= 1e-11 * max(1.0, float(addends.abs().sum())), similarity


@every_rule
@given(query=embeddings(2, CHANNELS), drawn=shots())
def test_only_voters_have_a_weight_and_only_supports_vote(name, query, drawn):
    supports = support_set_of(drawn)
    for rule, similarity in taken_by(name):
        voters = rule.voters(query, supports, similarity)
        assert voters.shape == (2, WAY, SHOT)
        assert not (voters & ~supports.valid).any()
        silent = rule.class_scores(query, supports, similarity).isneginf()
        assert torch.equal(silent, ~voters.any(dim=-1)), similarity
        weights = rule.weights((~silent).to(query), query, supports, similarity).supports
        assert not weights[~voters].any(), similarity


@pytest.mark.parametrize("kind", SIMILARITIES)
@given(query=embeddings(2, CHANNELS), drawn=shots())
def test_mean_similarity_and_prototype_equal_the_loop_version(kind, query, drawn):
    supports, metric = support_set_of(drawn), SIMILARITIES["mahalanobis"].precision.tolist()
    real = [supports.embeddings[c][supports.valid[c]].tolist() for c in range(WAY)]
    for rule in ("mean-similarity", "prototype"):
        slow = [[reference.decision_score(rule, kind, z, s, metric) for s in real] for z in query.tolist()]
        found = RULES[rule].class_scores(query, supports, SIMILARITIES[kind])
        assert_equal(found, torch.tensor(slow, dtype=torch.float64), 1e-9)


@pytest.mark.parametrize("name", ["mean-similarity", "prototype", "nearest-neighbor", "majority-vote", "knn-vote"])
@given(query=embeddings(2, CHANNELS), drawn=shots())
def test_repeating_every_shot_changes_no_score_but_doubles_a_vote(name, query, drawn):
    """The law of FAM's Eq. 11: a mean over shots, not a sum."""
    supports = support_set_of(drawn)
    twice = SupportSet(supports.embeddings.repeat(1, 2, 1), supports.valid.repeat(1, 2), CLASSES)
    for rule, similarity in taken_by(name):
        more = math.log(2) if isinstance(rule, KnnVote) else 0.0
        once = rule.class_scores(query, supports, similarity)
        assert_equal(rule.class_scores(query, twice, similarity), once + more, 1e-11)


@every_rule
@settings(max_examples=15)
@given(query=embeddings(2, CHANNELS), drawn=shots(), padding=embeddings(WAY, SHOT, CHANNELS))
def test_padding_has_no_say(name, query, drawn, padding):
    supports = support_set_of(drawn)
    other = torch.where(supports.valid[..., None], supports.embeddings, padding)
    repadded = replace(supports, embeddings=other)
    for rule, similarity in taken_by(name):
        expected = rule.class_scores(query, supports, similarity)
        assert torch.equal(rule.class_scores(query, repadded, similarity), expected), similarity
        even = (~expected.isneginf()).to(query)
        found, before = (rule.weights(even, query, one, similarity) for one in (repadded, supports))
        assert_equal(found.supports, before.supports)
        for what, constant in before.constants.items():
            assert_equal(found.constants[what], constant)
        for what, slope in before.slopes.items():
            assert_equal(found.slopes[what], slope)


@pytest.mark.parametrize("kind", SIMILARITIES)
@given(query=embeddings(2, CHANNELS), supports=embeddings(WAY, 1, CHANNELS))
def test_rules_agree_on_one_shot(kind, query, supports):
    similarity = SIMILARITIES[kind]
    one_shot = SupportSet(supports, torch.ones(WAY, 1, dtype=torch.bool), CLASSES)
    expected = similarity.pairwise(query, supports[:, 0])
    for rule in ("mean-similarity", "prototype", "nearest-neighbor", "majority-vote"):
        assert_equal(RULES[rule].class_scores(query, one_shot, similarity), expected)
    assert_equal(KnnVote(temperature=0.5).class_scores(query, one_shot, similarity), expected / 0.5)


@every_rule
@settings(max_examples=10)
@given(query=embeddings(2, CHANNELS), drawn=shots(), others=shots())
def test_each_query_may_bring_supports_of_its_own(name, query, drawn, others):
    """The numbers of supports may differ, too."""
    embedded, valid = (torch.stack(pair) for pair in zip(drawn, others, strict=True))
    both = SupportSet(embedded, valid, CLASSES, unlabeled=torch.stack([UNLABELED, UNLABELED.flip(1)]))
    apart = [
        (query[:1], support_set_of(drawn)),
        (query[1:], replace(support_set_of(others), unlabeled=both.unlabeled[1])),
    ]
    for rule, similarity in taken_by(name):
        for ask in (rule.class_scores, rule.decision_scores, rule.voters):
            alone = torch.cat([ask(z, supports, similarity) for z, supports in apart])
            torch.testing.assert_close(ask(query, both, similarity), alone, rtol=1e-11, atol=1e-11)
        even = (~rule.class_scores(query, both, similarity).isneginf()).to(query)
        together = rule.weights(even, query, both, similarity)
        for i, (z, supports) in enumerate(apart):
            alone = rule.weights(even[[i]], z, supports, similarity)
            assert_equal(together.supports[[i]], alone.supports)
            for what, constant in alone.constants.items():
                assert_equal(together.constants[what][[i]], constant)
            for what, slope in alone.slopes.items():
                assert_equal(together.slopes[what][[i]], slope)


@pytest.mark.parametrize(("rule", "kind"), REFUSED, ids=map("-".join, REFUSED))
def test_a_rule_refuses_similarities_that_it_cannot_take(rule, kind):
    ones = torch.ones(1, CHANNELS, dtype=torch.float64)
    supports = SupportSet(torch.rand(WAY, SHOT, CHANNELS).double(), torch.ones(WAY, SHOT, dtype=torch.bool), CLASSES)
    sentence = {
        "logistic-regression": r"a linear classifier takes similarity='cosine' or 'inner-product'; use one of them",
        "relation-network": r"compares by a relation module, but the similarity is none; give similarity=Relation",
        "cosine-classifier": r"expected similarity='cosine' with a cosine classifier, but got another; use cosine",
        "deep-emd-sfc": r"has no form for them|expected similarity='cosine' with deep-emd-sfc, but got another",
    }[rule]
    with pytest.raises(ValueError, match=sentence):
        RULES[rule].class_scores(ones, supports, SIMILARITIES[kind])
    with pytest.raises(ValueError, match=sentence):
        RULES[rule].weights(ones[:, :WAY], ones, supports, SIMILARITIES[kind])
