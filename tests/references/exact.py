"""The exact decomposition of a similarity decision over channels and cells, in plain loops.

Four parts: the shares of the cells in the pooled vector (see ``references.pooling``), the head as z' = G z + b at the
query, the similarity as z'^T M q' + u z' + v q' + k, and the decision as a weighted sum of similarities. Their product
is the receipt: sum_n c_n + bias = sum_p m_p + bias = score.
"""

from math import sqrt
from typing import NamedTuple

Vector = list[float]
Matrix = list[list[float]]


class Head(NamedTuple):
    """G z + b, frozen at one z: G has a row for each dimension of the embedding."""

    G: Matrix
    b: Vector


class Form(NamedTuple):
    """z'^T M q' + u z' + v q' + k."""

    M: Matrix
    u: Vector
    v: Vector
    k: float


class Receipt(NamedTuple):
    """What adds up: the score from its own definition, c over channels, m over cells, and the bias."""

    score: float
    contributions: Vector
    cells: Vector
    bias: float


def dot(a: Vector, b: Vector) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


def identity(n: int, scale: float = 1.0) -> Matrix:
    return [[scale if i == j else 0.0 for j in range(n)] for i in range(n)]


def no_head(z: Vector) -> Head:
    return Head(identity(len(z)), [0.0] * len(z))


def linear_head(W: Matrix, bias: Vector) -> Head:
    """z' = z W + bias; W has a row for each channel."""
    J = len(W[0])
    return Head([[W[n][j] for n in range(len(W))] for j in range(J)], list(bias))


def l2_head(z: Vector) -> Head:
    """z' = z / |z|, the norm frozen."""
    return Head(identity(len(z), 1.0 / sqrt(dot(z, z))), [0.0] * len(z))


def then_l2(head: Head, z: Vector) -> Head:
    """A head and the division by the norm of what it gives for z."""
    z_prime = apply(head, z)
    length = sqrt(dot(z_prime, z_prime))
    return Head([[g / length for g in row] for row in head.G], [b / length for b in head.b])


def apply(head: Head, z: Vector) -> Vector:
    return [dot(head.G[j], z) + head.b[j] for j in range(len(head.G))]


def similarity(kind: str, z: Vector, q: Vector, metric: Matrix | None = None) -> float:
    """The similarity by its definition; euclidean and mahalanobis are minus the squared distance."""
    if kind == "cosine":
        return dot(z, q) / (sqrt(dot(z, z)) * sqrt(dot(q, q)))
    if kind == "correlation":
        return similarity("cosine", centered(z), centered(q))
    if kind == "inner-product":
        return dot(z, q)
    difference = [z[j] - q[j] for j in range(len(z))]
    return -dot(difference, difference if kind == "euclidean" else times(metric, difference))


def form(kind: str, z: Vector, q: Vector, metric: Matrix | None = None) -> Form:
    zero = [0.0] * len(z)
    if kind == "cosine":
        return Form(identity(len(z), 1.0 / (sqrt(dot(z, z)) * sqrt(dot(q, q)))), zero, zero, 0.0)
    if kind == "correlation":
        n, (scaled, _, _, _) = len(z), form("cosine", centered(z), centered(q))
        return Form([[scaled[0][0] * ((i == j) - 1.0 / n) for j in range(n)] for i in range(n)], zero, zero, 0.0)
    if kind == "inner-product":
        return Form(identity(len(z)), zero, zero, 0.0)
    if kind == "mahalanobis":
        doubled = [[2.0 * v for v in row] for row in metric]
        return Form(doubled, [-v for v in times(metric, z)], [-v for v in times(metric, q)], 0.0)
    return Form(identity(len(z), 2.0), [-v for v in z], [-v for v in q], 0.0)


def centered(v: Vector) -> Vector:
    return [x - sum(v) / len(v) for x in v]


def times(M: Matrix, v: Vector) -> Vector:
    return [dot(row, v) for row in M]


def prototype(supports: Matrix) -> Vector:
    return [sum(q[j] for q in supports) / len(supports) for j in range(len(supports[0]))]


def decision_score(rule: str, kind: str, z: Vector, supports: Matrix, metric: Matrix | None = None) -> float:
    """The score by its definition: the mean of the similarities, or the similarity to the mean."""
    if rule == "prototype":
        return similarity(kind, z, prototype(supports), metric)
    return sum(similarity(kind, z, q, metric) for q in supports) / len(supports)


def decision_weights(rule: str, kind: str, supports: Matrix, metric: Matrix | None = None) -> tuple[Vector, float]:
    """w and constant with sum_k w_k S_k + constant = score."""
    K = len(supports)
    if rule == "mean-similarity" or kind == "inner-product":
        return [1.0 / K] * K, 0.0
    p = prototype(supports)
    if kind == "cosine":
        return [sqrt(dot(q, q)) / (K * sqrt(dot(p, p))) for q in supports], 0.0
    return [1.0 / K] * K, -sum(similarity(kind, q, p, metric) for q in supports) / K


def receipt(
    shares: Matrix, head: Head, kind: str, rule: str, supports: Matrix, metric: Matrix | None = None
) -> Receipt:
    """Decompose the score of one class: shares and head of the query, embeddings of the class's supports."""
    z_prime = apply(head, [sum(row) for row in shares])
    score = decision_score(rule, kind, z_prime, supports, metric)
    weights, constant = decision_weights(rule, kind, supports, metric)
    return weighted_receipt(shares, head, kind, list(zip(weights, supports, strict=True)), score, constant, metric)


def weighted_receipt(
    shares: Matrix,
    head: Head,
    kind: str,
    weighted: list[tuple[float, Vector]],
    score: float,
    constant: float,
    metric: Matrix | None = None,
) -> Receipt:
    """Decompose a score that is sum_k w_k S_k + constant, over pairs of a weight and a support's embedding."""
    N, D, J = len(shares), len(shares[0]), len(head.b)
    z = [sum(shares[n]) for n in range(N)]
    z_prime = apply(head, z)
    bias, g = constant, [0.0] * J
    for w_k, q in weighted:
        M, u, v, k = form(kind, z_prime, q, metric)
        for i in range(J):
            g[i] += w_k * (dot(M[i], q) + u[i])
        bias += w_k * (dot(v, q) + k)
    bias += dot(g, head.b)
    pulled_back = [sum(head.G[j][n] * g[j] for j in range(J)) for n in range(N)]
    contributions = [z[n] * pulled_back[n] for n in range(N)]
    cells = [sum(shares[n][p] * pulled_back[n] for n in range(N)) for p in range(D)]
    return Receipt(score, contributions, cells, bias)


def support_cells(shares: Matrix, head: Head, kind: str, z: Vector, w: float, metric: Matrix | None = None) -> Vector:
    """One support's cells for its addend w S(z', q'): shares and head of the support, embedding z' of the query."""
    N, D, J = len(shares), len(shares[0]), len(head.b)
    q = apply(head, [sum(shares[n]) for n in range(N)])
    M, _, v, _ = form(kind, z, q, metric)
    g = [w * (sum(z[i] * M[i][j] for i in range(J)) + v[j]) for j in range(J)]
    pulled_back = [sum(head.G[j][n] * g[j] for j in range(J)) for n in range(N)]
    return [sum(shares[n][p] * pulled_back[n] for n in range(N)) for p in range(D)]


def contrast(target: Receipt, rivals: list[Receipt]) -> Receipt:
    """The target's receipt minus the mean of the rivals'."""
    R = len(rivals)
    score, bias = target.score, target.bias
    contributions, cells = list(target.contributions), list(target.cells)
    for rival in rivals:
        score -= rival.score / R
        bias -= rival.bias / R
        for n in range(len(contributions)):
            contributions[n] -= rival.contributions[n] / R
        for p in range(len(cells)):
            cells[p] -= rival.cells[p] / R
    return Receipt(score, contributions, cells, bias)
