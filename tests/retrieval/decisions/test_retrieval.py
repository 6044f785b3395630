"""Decisions over a bank: their scores by loops, their receipts, and the few-shot explanation they must equal."""

import math

import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder

import fsl_explain
from fsl_explain.classifiers import KnnVote, MajorityVote, NearestNeighbor
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain import MemoryBank
from retrieval_explain.decisions.explained_neighbors import (
    explain,
    explain_retrieved,
    places_of,
    retrieve,
    voters_by_class,
)

CLASSES = ["oak", "elm", "ash", "elm", "oak", "ash", "elm", "oak", "oak"]
TEMPERATURE = 0.3
RULES = {
    "knn-vote": KnnVote(k=7, temperature=TEMPERATURE),
    "majority-vote": MajorityVote(k=7),
    "nearest-neighbor": NearestNeighbor(),
}
GALLERY, QUERY = images(len(CLASSES), seed=3, dtype=torch.float32), images(seed=4, dtype=torch.float32)


def encoder_of(head="mlp"):
    return tiny_encoder(random_head(head), dtype=torch.float32)


def bank_of(encoder, similarity="cosine", labels=CLASSES):
    paths = [f"trees/{row}.png" for row in range(len(CLASSES))]
    return MemoryBank.from_embeddings(encoder(GALLERY).embedding, labels=labels, paths=paths, similarity=similarity)


def scores_by_loops(rule, found, labels):
    """The class scores of a vote, or each neighbor's similarity."""
    scores = {}
    for name in sorted(set(labels)):
        own = [s for s, label in zip(found, labels, strict=True) if label == name]
        weighted = math.log(sum(math.exp(s / TEMPERATURE) for s in own))
        scores[name] = weighted if isinstance(rule, KnnVote) else sum(own) / len(own)
    return scores


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("method", ["exact", "contrast"])
@pytest.mark.parametrize("rule", RULES)
def test_cells_channels_and_voters_add_up_to_the_score(rule, method, similarity):
    encoder = encoder_of()
    bank = bank_of(encoder, similarity)
    explanation = explain(encoder, QUERY, bank, method=method, rule=RULES[rule], k=7)
    for parts in (explanation.contributions, explanation.cells):
        size = float(parts.double().abs().sum() + explanation.bias.abs())
        assert abs(float(parts.double().sum() + explanation.bias - explanation.score)) < 1e-5 * size
    receipt = explanation.receipt()
    assert receipt.residual < 1e-10 * receipt.absolute_sum
    found = bank.search(encoder(QUERY[None]).embedding, 7)[0]
    similarities = found.similarities.tolist()
    if rule == "nearest-neighbor":
        expected = similarities[0] - (similarities[1] if method == "contrast" else 0)
    else:
        scores = scores_by_loops(RULES[rule], similarities, [CLASSES[row] for row in found.indices.tolist()])
        assert dict(zip(explanation.decision.classes, explanation.decision.scores.tolist(), strict=True)) == (
            pytest.approx(scores, rel=1e-5)
            if rule == "knn-vote"
            else {name: [CLASSES[row] for row in found.indices.tolist()].count(name) for name in scores}
        )
        winner = explanation.decision.name
        others = [explanation.decision.classes[int(label)] for label in explanation.decision.scores.argsort()]
        runner_up = [name for name in others if name != winner][-1]
        expected = scores[winner] - (scores[runner_up] if method == "contrast" else 0)
    assert receipt.score == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", ["exact", "contrast", "fam"])
@pytest.mark.parametrize("rule", ["knn-vote", "majority-vote"])
def test_equals_the_few_shot_explanation_with_the_same_images_as_supports(rule, method):
    encoder = encoder_of("linear" if method == "fam" else "mlp")
    bank = bank_of(encoder)
    rows = bank.search(encoder(QUERY[None]).embedding, 7)[0].indices.tolist()
    supports = {
        name: GALLERY[[row for row in rows if CLASSES[row] == name]] for name in sorted({CLASSES[row] for row in rows})
    }
    over_bank = explain(encoder, QUERY, bank, method=method, rule=RULES[rule])
    over_images = fsl_explain.explain(encoder, QUERY, supports, method=method, rule=RULES[rule])
    assert over_bank.decision.classes == over_images.decision.classes
    for name in ("score", "contributions", "cells", "bias", "saliency", "support_weights", "similarities"):
        torch.testing.assert_close(getattr(over_bank, name), getattr(over_images, name), equal_nan=True)
    assert over_bank.support_cells.isnan().all()


def test_retrieval_is_explained_by_rank_and_named_by_file():
    encoder = encoder_of()
    bank = bank_of(encoder)
    found = bank.search(encoder(QUERY[None]).embedding, 4)[0]
    third = explain(encoder, QUERY, bank, method="exact", rule="nearest-neighbor", k=4, target=2)
    assert third.decision.classes[2] == f"#3 {found.indices[2]}.png"
    assert float(third.score) == pytest.approx(float(found.similarities[2]), rel=1e-6)
    margin = explain(encoder, QUERY, bank, method="contrast", rule="nearest-neighbor", k=4, target=0, against=3)
    assert float(margin.score) == pytest.approx(float(found.similarities[0] - found.similarities[3]), rel=1e-5)


def test_every_found_neighbor_votes_also_beyond_the_usual_number():
    encoder = encoder_of()
    embeddings = torch.randn(230, 3, generator=torch.Generator().manual_seed(0))
    bank = MemoryBank.from_embeddings(embeddings, labels=[i % 2 for i in range(230)])
    retrieved = retrieve(encoder, QUERY, bank, k=220)
    explanation = explain_retrieved(retrieved, "exact", KnnVote())
    assert int((~explanation.similarities.isnan()).sum()) == 220
    assert float(explanation.support_shares.count_nonzero()) == int(
        (~explanation.similarities[int(explanation.target)].isnan()).sum()
    )
    assert explanation.decision.classes == ("0", "1")


def test_places_are_those_of_a_loop():
    labels = torch.tensor([[2, 0, 2, 5, 0], [5, 5, 5, 2, 2]])
    classes = torch.tensor([[0, 2], [2, 9]])
    places, valid = places_of(labels, classes)
    for query in range(2):
        for way in range(2):
            members = [place for place in range(5) if labels[query, place] == classes[query, way]]
            assert places[query, way][valid[query, way]].tolist() == members


def test_filters_reach_the_search():
    encoder = encoder_of()
    bank = bank_of(encoder)
    only = retrieve(encoder, QUERY, bank, k=3, classes=["ash", "elm"], ids=[1, 2, 3, 4])
    assert sorted(only.neighbors.indices.tolist()) == [1, 2, 3]
    first = int(retrieve(encoder, QUERY, bank, k=1).neighbors.indices[0])
    assert first not in retrieve(encoder, QUERY, bank, k=8, without=torch.tensor([first])).neighbors.indices.tolist()


def test_says_what_cannot_be_explained():
    encoder = encoder_of()
    bank = bank_of(encoder)
    with pytest.raises(ValueError, match="expected one query, but got a batch of 2"):
        explain(encoder, images(2, dtype=torch.float32), bank)
    with pytest.raises(ValueError, match="the rule looks at all images of a class; use knn-vote"):
        explain(encoder, QUERY, bank, rule="prototype")
    with pytest.raises(ValueError, match="asked for 10 neighbors, but there are 9 embeddings"):
        explain(encoder, QUERY, bank, k=10)
    unlabeled = bank_of(encoder, labels=[None if i == 2 else name for i, name in enumerate(CLASSES)])
    with pytest.raises(ValueError, match="1 of 9 neighbors have no label, so they cannot vote"):
        explain(encoder, QUERY, unlabeled)
    assert explain(encoder, QUERY, unlabeled, rule="nearest-neighbor").decision.label == 0
    with pytest.raises(ValueError, match="9 neighbors have no label"):
        voters_by_class(bank_of(encoder, labels=None), bank.search(encoder(QUERY[None]).embedding)[0])


def test_another_encoder_is_refused():
    encoder = encoder_of()
    bank = MemoryBank.from_embeddings(
        encoder(GALLERY).embedding, labels=CLASSES, encoder="another #0123456789ab", preprocessing=""
    )
    with pytest.raises(ValueError, match="another #0123456789ab"):
        explain(encoder, QUERY, bank)
