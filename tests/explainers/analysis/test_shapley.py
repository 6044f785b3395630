"""Brute force: exact cells are the Shapley values of the game in which cells of the query come and go.

The value of a set of cells is the score with only those cells present, while what the decomposition freezes (the
shares of the pooling, the gains of the head, the norms in the similarity, the weights of the decision) stays as it is
for the whole image.
"""

import pytest
import torch
from decision_parts import ALONE, OF_WHOLES, QUICK_RULES, TAKEN_BY, random_precision
from references import exact as reference
from references import pooling as slow_pooling
from references import shapley
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain.classifiers import KnnVote
from fsl_explain.explainers.choice import Choice
from fsl_explain.explainers.compared import compare
from fsl_explain.explainers.explaining import explain_compared
from fsl_explain.similarities import SIMILARITIES, Mahalanobis

SIZE = (4, 6)  # maps of 2 × 3 cells
SHARES = {"gap": slow_pooling.gap_shares, "gmp": slow_pooling.gmp_shares, "gem": slow_pooling.gem_shares}
HEADS = ["none", "linear", "linear-l2"]
SUPPORTS = {"a": images(2, seed=51), "b": images(1, seed=52), "c": images(3, seed=53)}
RULES_UNDER_TEST = {name: QUICK_RULES[name] for name in OF_WHOLES if name in ALONE} | {
    "knn-vote": KnnVote(k=5, temperature=0.5)
}


def frozen_head(encoder, shares):
    z = [sum(row) for row in shares]
    frozen = reference.no_head(z)
    for layer in encoder.head.modules():
        if isinstance(layer, torch.nn.Linear):
            frozen = reference.linear_head(layer.weight.T.tolist(), layer.bias.tolist())
        elif not isinstance(layer, torch.nn.Identity | torch.nn.Sequential):
            frozen = reference.then_l2(frozen, z)
    return frozen


def frozen_game(encoder, pooling, compared, found, kind, metric):
    """The score with only the cells of a set present; nothing of it but the embedding depends on the set."""
    (A,) = compared.features.maps.flatten(start_dim=-2).tolist()
    shares = SHARES[pooling](A)
    head = frozen_head(encoder, shares)
    whole = reference.apply(head, [sum(row) for row in shares])
    valid = compared.supports.valid
    rows = zip(found.support_weights[0][valid].tolist(), compared.supports.embeddings[valid].tolist(), strict=True)
    forms = [(w, q, reference.form(kind, whole, q, metric)) for w, q in rows]
    constant = sum(float(value[0]) for value in found.constants.values())

    def score(present):
        z = reference.apply(head, [sum(row[p] for p in present) for row in shares])
        total = constant
        for w, q, (M, u, v, k) in forms:
            total += w * (reference.dot(z, reference.times(M, q)) + reference.dot(u, z) + reference.dot(v, q) + k)
        return total

    return score


@pytest.mark.parametrize("rule", RULES_UNDER_TEST)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pooling", SHARES)
def test_cells_are_the_shapley_values_of_the_frozen_game(pooling, head, rule):
    encoder, query = tiny_encoder(random_head(head), pooling), images(seed=50)[:, : SIZE[0], : SIZE[1]]
    compared = compare(encoder, query, SUPPORTS)
    precision = random_precision(compared.features.embedding.shape[-1])
    for kind in TAKEN_BY.get(rule, (*SIMILARITIES, "mahalanobis")):
        similarity = Mahalanobis(precision) if kind == "mahalanobis" else SIMILARITIES[kind]
        for method in ("exact", "contrast", "log-probability"):
            found = explain_compared(compared, method, Choice(RULES_UNDER_TEST[rule], similarity, scale=2.0))
            assert_shapley(found, frozen_game(encoder, pooling, compared, found, kind, precision.tolist()))


def assert_shapley(found, game):
    cells = found.cells[0].flatten()
    expected = torch.tensor(shapley.values(game, len(cells)), dtype=torch.float64)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(cells, expected, rtol=0, atol=1e-9 * scale)
    assert game(frozenset(range(len(cells)))) == pytest.approx(float(found.score), abs=1e-8 * scale)
    assert game(frozenset()) == pytest.approx(float(found.bias), abs=1e-8 * scale)
