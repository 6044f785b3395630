"""Exact and contrast through the public face, held against the plain loops, bias and all."""

from math import exp

import pytest
import torch
from decision_parts import random_precision
from references import exact as reference
from references import pooling as slow_pooling
from references import upsampling, votes
from tiny_encoder import IMAGE, images, random_head, tiny_encoder
from torch import nn

from fsl_explain import explain
from fsl_explain.classifiers import KnnVote
from fsl_explain.heads import L2Normalize
from fsl_explain.similarities import SIMILARITIES, Mahalanobis

SHARES = {
    "gap": slow_pooling.gap_shares,
    "gmp": slow_pooling.gmp_shares,
    "lse": lambda A: slow_pooling.lse_shares(A, 10.0, panels=200),
    "gem": slow_pooling.gem_shares,
}
SHOTS = (2, 1, 3)


def slow_shares(encoder, pooling, batch):
    return [SHARES[pooling](A) for A in encoder(batch).maps.flatten(start_dim=-2).tolist()]


def slow_head(head, shares):
    z = [sum(row) for row in shares]
    frozen = reference.no_head(z)
    for layer in head if isinstance(head, nn.Sequential) else [head]:
        if isinstance(layer, nn.Linear):
            bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
            frozen = reference.linear_head(layer.weight.T.tolist(), bias)
        elif isinstance(layer, L2Normalize):
            frozen = reference.then_l2(frozen, z)
    return frozen, reference.apply(frozen, z)


def slowly(encoder, pooling, query, supports, similarity, rule, metric):
    """The receipt of every class, and the cells of every support in its own class's score."""
    (shares,) = slow_shares(encoder, pooling, query[None])
    head, embedding = slow_head(encoder.head, shares)
    receipts, support_cells = [], []
    for shots in supports.values():
        of_supports = slow_shares(encoder, pooling, shots)
        heads = [slow_head(encoder.head, one) for one in of_supports]
        embeddings = [z_k for _, z_k in heads]
        receipts.append(reference.receipt(shares, head, similarity, rule, embeddings, metric))
        weights, _ = reference.decision_weights(rule, similarity, embeddings, metric)
        rows = zip(of_supports, heads, weights, strict=True)
        support_cells.append([reference.support_cells(s, h, similarity, embedding, w, metric) for s, (h, _), w in rows])
    return receipts, support_cells


def assert_agree(found, expected):
    expected = torch.tensor(expected, dtype=torch.float64).reshape(found.shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype"])
@pytest.mark.parametrize("similarity", [*SIMILARITIES, "mahalanobis"])
@pytest.mark.parametrize("head", ["none", "linear", "linear-without-bias", "l2", "linear-l2"])
@pytest.mark.parametrize("pooling", ["gap", "gmp", "gem"])
def test_equals_the_loop_version(pooling, head, similarity, rule):
    assert_equals_the_loop_version(pooling, head, similarity, rule)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_equals_the_loop_version_with_log_sum_exp_pooling(similarity):
    assert_equals_the_loop_version("lse", "linear", similarity, "prototype")


def supports_of_three_classes():
    return {f"class {i}": images(shots, seed=41 + i) for i, shots in enumerate(SHOTS)}


def assert_equals_the_loop_version(pooling, head, kind, rule):
    encoder, query, supports = tiny_encoder(random_head(head), pooling), images(seed=40), supports_of_three_classes()
    precision = random_precision(encoder(query[None]).embedding.shape[-1])
    receipts, support_cells = slowly(encoder, pooling, query, supports, kind, rule, precision.tolist())
    similarity = Mahalanobis(precision) if kind == "mahalanobis" else kind
    found = explain(encoder, query, supports, method="exact", rule=rule, similarity=similarity, target=2)
    assert_agree(found.decision.scores, [receipt.score for receipt in receipts])
    assert_agrees_with(found, receipts[2])
    for k, cells in enumerate(support_cells[2]):
        assert_agree(found.support_cells[2, k], cells)
    assert not found.support_cells[:2].nansum()
    contrast = explain(
        encoder, query, supports, method="contrast", rule=rule, similarity=similarity, target=2, against="others"
    )
    assert_agrees_with(contrast, reference.contrast(receipts[2], receipts[:2]))


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("k", [2, 4, 6])
def test_a_vote_equals_the_loop_version(k, kind):
    """Weights, voters and constants from the plain loops, class by class; a class without a vote is skipped."""
    tau, encoder, query = 0.3, tiny_encoder(random_head("linear")), images(seed=40)
    (shares,) = slow_shares(encoder, "gap", query[None])
    head, z = slow_head(encoder.head, shares)
    embedded = [encoder(shots).embedding.tolist() for shots in supports_of_three_classes().values()]
    S = [[reference.similarity(kind, z, q) for q in of_class] for of_class in embedded]
    chosen, scores = votes.voters(S, k), votes.log_votes(S, k, tau)
    for c in (c for c in range(3) if chosen[c]):
        similarities = [S[c][i] for i in chosen[c]]
        _, how_many = votes.how_similar_and_how_many(similarities, tau)
        weights = [exp(s / tau - scores[c]) / tau for s in similarities]
        weighted = list(zip(weights, [embedded[c][i] for i in chosen[c]], strict=True))
        expected = reference.weighted_receipt(shares, head, kind, weighted, scores[c], how_many)
        assert_agrees_with(
            explain(
                encoder,
                query,
                supports_of_three_classes(),
                method="exact",
                rule=KnnVote(k, tau),
                similarity=kind,
                target=c,
            ),
            expected,
        )


def assert_agrees_with(explanation, receipt):
    assert_agree(explanation.score, receipt.score)
    assert_agree(explanation.contributions, receipt.contributions)
    assert_agree(explanation.cells, receipt.cells)
    assert_agree(explanation.bias, receipt.bias)
    assert_agree(explanation.saliency, upsampling.sum_kept(explanation.cells.tolist(), *IMAGE))
