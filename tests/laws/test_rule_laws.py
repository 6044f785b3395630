import pytest
import torch
from embedding_strategies import assert_equal, embeddings, shot_masks
from hypothesis import assume, given
from hypothesis import strategies as st
from references import exact as reference

from fsl_explain.classifiers import RULES, Rule, SupportSet
from fsl_explain.similarities import SIMILARITIES

WAY, SHOT, CHANNELS = 3, 3, 4
CLASSES = ("a", "b", "c")

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
every_similarity = pytest.mark.parametrize("similarity", SIMILARITIES.values(), ids=SIMILARITIES)


@st.composite
def shots(draw):
    """Embeddings, and which of them are real; no class has a mean near 0."""
    supports, valid = draw(embeddings(WAY, SHOT, CHANNELS)), draw(shot_masks(WAY, SHOT))
    means = torch.stack([supports[c][valid[c]].mean(dim=0) for c in range(WAY)])
    assume((means.norm(dim=-1) > 0.05).all())
    return supports, valid


def support_set_of(shots) -> SupportSet:
    return SupportSet(*shots, CLASSES)


@every_rule
def test_plays_its_role(rule):
    assert isinstance(rule, Rule)


@every_similarity
@every_rule
@given(query=embeddings(2, CHANNELS), shots=shots())
def test_scores_are_the_weighted_similarities_and_the_constant(rule, similarity, query, shots):
    supports = support_set_of(shots)
    weights, constant = rule.weights(supports, similarity)
    pairs = similarity.pairwise(query, supports.embeddings.flatten(0, 1)).unflatten(-1, (WAY, SHOT))
    assert_equal((weights * pairs).sum(dim=-1) + constant, rule.class_scores(query, supports, similarity))


@pytest.mark.parametrize("similarity_name", SIMILARITIES)
@pytest.mark.parametrize("rule_name", RULES)
@given(query=embeddings(2, CHANNELS), shots=shots())
def test_equals_the_loop_version(rule_name, similarity_name, query, shots):
    supports = support_set_of(shots)
    real = [supports.embeddings[c][supports.valid[c]].tolist() for c in range(WAY)]
    slow = [[reference.decision_score(rule_name, similarity_name, z, s) for s in real] for z in query.tolist()]
    found = RULES[rule_name].class_scores(query, supports, SIMILARITIES[similarity_name])
    assert_equal(found, torch.tensor(slow, dtype=torch.float64), 1e-9)


@every_similarity
@every_rule
@given(query=embeddings(2, CHANNELS), shots=shots())
def test_repeating_every_shot_changes_no_score(rule, similarity, query, shots):
    """The law of FAM's Eq. 11: a mean over shots, not a sum."""
    supports = support_set_of(shots)
    twice = SupportSet(supports.embeddings.repeat(1, 2, 1), supports.valid.repeat(1, 2), CLASSES)
    once = rule.class_scores(query, supports, similarity)
    assert_equal(rule.class_scores(query, twice, similarity), once)


@every_similarity
@every_rule
@given(query=embeddings(2, CHANNELS), shots=shots(), padding=embeddings(WAY, SHOT, CHANNELS))
def test_padding_has_no_say(rule, similarity, query, shots, padding):
    supports = support_set_of(shots)
    other = torch.where(supports.valid[..., None], supports.embeddings, padding)
    repadded = SupportSet(other, supports.valid, CLASSES)
    expected = rule.class_scores(query, supports, similarity)
    assert_equal(rule.class_scores(query, repadded, similarity), expected)
    pairs = zip(rule.weights(repadded, similarity), rule.weights(supports, similarity), strict=True)
    for found, before in pairs:
        assert_equal(found, before)


@every_similarity
@given(query=embeddings(2, CHANNELS), supports=embeddings(WAY, 1, CHANNELS))
def test_rules_agree_on_one_shot(similarity, query, supports):
    one_shot = SupportSet(supports, torch.ones(WAY, 1, dtype=torch.bool), CLASSES)
    mean, prototype = (RULES[name].class_scores(query, one_shot, similarity) for name in RULES)
    assert_equal(mean, prototype)


@every_similarity
@every_rule
@given(query=embeddings(2, CHANNELS), shots=shots(), others=shots())
def test_each_query_may_bring_supports_of_its_own(rule, similarity, query, shots, others):
    supports, others = support_set_of(shots), support_set_of(others)
    both = SupportSet(
        torch.stack([supports.embeddings, others.embeddings]), torch.stack([supports.valid, others.valid]), CLASSES
    )
    alone = [rule.class_scores(query[:1], supports, similarity), rule.class_scores(query[1:], others, similarity)]
    assert_equal(rule.class_scores(query, both, similarity), torch.cat(alone))
