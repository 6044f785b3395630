"""Exact and contrast through the public face, held against the plain loops, bias and all."""

import pytest
import torch
from references import exact as reference
from references import pooling as slow_pooling
from references import upsampling
from tiny_encoder import IMAGE, images, random_head, tiny_encoder
from torch import nn

from fsl_explain import explain
from fsl_explain.classifiers import RULES
from fsl_explain.heads import L2Normalize
from fsl_explain.similarities import SIMILARITIES

SHARES = {
    "gap": slow_pooling.gap_shares,
    "gmp": slow_pooling.gmp_shares,
    "lse": lambda A: slow_pooling.lse_shares(A, 10.0, panels=200),
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


def slowly(encoder, pooling, query, supports, similarity, rule):
    """The receipt of every class, and the cells of every support in its own class's score."""
    (shares,) = slow_shares(encoder, pooling, query[None])
    head, embedding = slow_head(encoder.head, shares)
    receipts, support_cells = [], []
    for shots in supports.values():
        of_supports = slow_shares(encoder, pooling, shots)
        heads = [slow_head(encoder.head, one) for one in of_supports]
        embeddings = [z_k for _, z_k in heads]
        receipts.append(reference.receipt(shares, head, similarity, rule, embeddings))
        weights, _ = reference.decision_weights(rule, similarity, embeddings)
        rows = zip(of_supports, heads, weights, strict=True)
        support_cells.append([reference.support_cells(s, h, similarity, embedding, w) for s, (h, _), w in rows])
    return receipts, support_cells


def assert_agree(found, expected):
    expected = torch.tensor(expected, dtype=torch.float64).reshape(found.shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("head", ["none", "linear", "linear-without-bias", "l2", "linear-l2"])
@pytest.mark.parametrize("pooling", ["gap", "gmp"])
def test_equals_the_loop_version(pooling, head, similarity, rule):
    assert_equals_the_loop_version(pooling, head, similarity, rule)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_equals_the_loop_version_with_log_sum_exp_pooling(similarity):
    assert_equals_the_loop_version("lse", "linear", similarity, "prototype")


def assert_equals_the_loop_version(pooling, head, similarity, rule):
    encoder, query = tiny_encoder(random_head(head), pooling), images(seed=40)
    supports = {f"class {i}": images(shots, seed=41 + i) for i, shots in enumerate(SHOTS)}
    receipts, support_cells = slowly(encoder, pooling, query, supports, similarity, rule)
    found = explain(encoder, query, supports, "exact", rule, similarity, target=2)
    assert_agree(found.decision.scores, [receipt.score for receipt in receipts])
    assert_agrees_with(found, receipts[2])
    for k, cells in enumerate(support_cells[2]):
        assert_agree(found.support_cells[2, k], cells)
    assert not found.support_cells[:2].nansum()
    contrast = explain(encoder, query, supports, "contrast", rule, similarity, target=2, against="others")
    assert_agrees_with(contrast, reference.contrast(receipts[2], receipts[:2]))


def assert_agrees_with(explanation, receipt):
    assert_agree(explanation.score, receipt.score)
    assert_agree(explanation.contributions, receipt.contributions)
    assert_agree(explanation.cells, receipt.cells)
    assert_agree(explanation.bias, receipt.bias)
    assert_agree(explanation.saliency, upsampling.sum_kept(explanation.cells.tolist(), *IMAGE))
