"""The loop versions are the yardstick of the fast ones, so they are held to identities of their own."""

import random
from math import log, sqrt

import pytest
import torch
from references import cosine_classifier, exact, fam, lafam, pooling, shapley, upsampling, votes

CELLS = [[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]]
SHARES = {
    "gap": (pooling.gap_shares, pooling.gap),
    "gmp": (pooling.gmp_shares, pooling.gmp),
    "lse": (lambda A: pooling.lse_shares(A, 4.0), lambda A: pooling.lse(A, 4.0)),
}


def vectors(count: int, size: int, seed: int) -> list[list[float]]:
    rng = random.Random(seed)
    return [[rng.uniform(-1, 1) for _ in range(size)] for _ in range(count)]


@pytest.mark.parametrize("size", [(2, 3), (5, 7), (8, 6), (1, 2)])
def test_upsampling_is_that_of_torch(size):
    cells = torch.tensor(CELLS, dtype=torch.float64)[None, None]
    smooth = torch.nn.functional.interpolate(cells, size=size, mode="bilinear")
    blocks = torch.nn.functional.interpolate(cells, size=size, mode="nearest")
    torch.testing.assert_close(torch.tensor(upsampling.bilinear(CELLS, *size), dtype=torch.float64), smooth[0, 0])
    torch.testing.assert_close(torch.tensor(upsampling.nearest(CELLS, *size), dtype=torch.float64), blocks[0, 0])


def test_sum_kept_upsampling_keeps_the_sum():
    up = upsampling.sum_kept(CELLS, 7, 8)
    assert sum(map(sum, up)) == pytest.approx(sum(map(sum, CELLS)), abs=1e-12)


@pytest.mark.parametrize("name", SHARES)
def test_shares_sum_to_the_pooled_value(name):
    shares, pool = SHARES[name]
    A = [*vectors(4, 6, seed=1), [0.5, 0.5, -1.0, 0.5, 0.0, 0.2], [0.0] * 6]
    assert [sum(row) for row in shares(A)] == pytest.approx(pool(A), abs=1e-9)


def heads(z: list[float]) -> dict[str, exact.Head]:
    linear = exact.linear_head(vectors(len(z), 3, seed=2), [0.3, -0.2, 0.1])
    return {"none": exact.no_head(z), "linear": linear, "l2": exact.l2_head(z), "linear-l2": exact.then_l2(linear, z)}


@pytest.mark.parametrize("rule", ["mean-similarity", "prototype"])
@pytest.mark.parametrize("kind", ["cosine", "inner-product", "euclidean", "mahalanobis"])
@pytest.mark.parametrize("head_name", ["none", "linear", "l2", "linear-l2"])
@pytest.mark.parametrize("pool", SHARES)
def test_receipts_add_up(pool, head_name, kind, rule):
    A = vectors(4, 6, seed=3)
    shares = SHARES[pool][0](A)
    z = [sum(row) for row in shares]
    head = heads(z)[head_name]
    classes = [vectors(3, len(head.b), seed) for seed in (5, 6, 7)]
    root = vectors(len(head.b), len(head.b), seed=11)
    metric = [[exact.dot(a, b) for b in root] for a in root]
    receipts = [exact.receipt(shares, head, kind, rule, supports, metric) for supports in classes]
    for found in [*receipts, exact.contrast(receipts[0], receipts[1:])]:
        assert sum(found.contributions) + found.bias == pytest.approx(found.score, abs=1e-9)
        assert sum(found.cells) + found.bias == pytest.approx(found.score, abs=1e-9)


def test_weights_of_fam_sum_to_the_mean_sign():
    z, supports = [1.0, 1.0], [[1.0, -0.9], [-1.0, 0.5], [1.0, 2.0]]
    assert sum(fam.contribution_weights(z, supports)) == pytest.approx(1 / 3)
    assert fam.contribution_weights(z, supports[:1]) == pytest.approx([10, -9])
    assert fam.mean_similarity(z, supports[:1]) == pytest.approx(0.1 / sqrt(2 * 1.81))


def test_fam_projects_back_as_written():
    z, supports, W = [0.2, 0.5, 0.9], vectors(2, 3, seed=8), vectors(3, 2, seed=9)
    c_prime = fam.contribution_weights(fam.embed(z, W), [fam.embed(q, W) for q in supports])
    C, z_prime = fam.projected_weights(z, supports, W), fam.embed(z, W)
    assert exact.dot(z, C) == pytest.approx(exact.dot(z_prime, c_prime))


def test_equal_weights_turn_fam_into_lafam():
    A = [CELLS, [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]
    L = fam.feature_activation_map([0.5, 0.5], A)
    pairs = zip(fam.min_max_map(L), lafam.normalized(lafam.mean_map(A)), strict=True)
    assert all(row == pytest.approx(expected) for row, expected in pairs)


def test_a_log_vote_is_how_similar_plus_how_many():
    S, k, tau = [[0.9, 0.2, 0.5], [0.6], [0.1, 0.55]], 4, 0.3
    assert votes.voters(S, k) == [[0, 2], [0], [1]]
    found = votes.log_votes(S, k, tau)
    for score, of_class, chosen in zip(found, S, votes.voters(S, k), strict=True):
        assert sum(votes.how_similar_and_how_many([of_class[i] for i in chosen], tau)) == pytest.approx(score)
    assert votes.how_similar_and_how_many([0.4] * 3, tau) == pytest.approx((0.4 / tau, log(3)))


def test_the_gradient_of_the_cosine_classifier_is_that_of_its_loss():
    classes = [vectors(3, 4, seed=12), vectors(2, 4, seed=13)]
    w, x = vectors(2, 4, seed=14), [(cosine_classifier.unit(q), c) for c, qs in enumerate(classes) for q in qs]

    def loss(w):
        return -sum(log(cosine_classifier.softmax(cosine_classifier.scores(q, w, 5.0))[y]) for q, y in x) / len(x)

    for c in range(2):
        gradient = cosine_classifier.gradient_of(c, w, x, 5.0)
        for j in range(4):
            up, down = ([list(row) for row in w] for _ in range(2))
            up[c][j] += 1e-6
            down[c][j] -= 1e-6
            assert gradient[j] == pytest.approx((loss(up) - loss(down)) / 2e-6, abs=1e-7)


def test_shapley_values_of_known_games():
    """The glove game: one left glove and two right ones; a pair is worth 1."""
    gloves = shapley.values(lambda held: float(0 in held and len(held) > 1), 3)
    assert gloves == pytest.approx([2 / 3, 1 / 6, 1 / 6])
    assert shapley.values(lambda held: sum(held) ** 2.0, 3) == pytest.approx([0, 3, 6])
