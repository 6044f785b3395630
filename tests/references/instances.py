"""NPID and MoCo in plain loops, with the letters of their papers."""

from math import exp, log, sqrt

Vectors = list[list[float]]


def dot(z: list[float], w: list[float]) -> float:
    return sum(a * b for a, b in zip(z, w, strict=True))


def unit(z: list[float]) -> list[float]:
    norm = sqrt(dot(z, z))
    return [a / norm for a in z]


def normalizer(V: Vectors, F: Vectors, rows: list[list[int]], tau: float) -> float:
    """NPID Eq. 8, as the code has it: the mean over data and noise of the first batch, times n."""
    terms = [exp(dot(V[i], F[j]) / tau) for i in range(len(V)) for j in rows[i]]
    return len(F) * sum(terms) / len(terms)


def noise_contrastive(V: Vectors, F: Vectors, rows: list[list[int]], tau: float, Z: float) -> float:
    """NPID Eqs. 6 and 7; ``rows`` holds for each image its own index and those of its noise."""
    total, n = 0.0, len(F)
    for v, (own, *noise) in zip(V, rows, strict=True):
        m = len(noise)
        P = exp(dot(v, F[own]) / tau) / Z
        total -= log(P / (P + m / n + 1e-7))
        for j in noise:
            P = exp(dot(v, F[j]) / tau) / Z
            total -= log((m / n) / (P + m / n + 1e-7))
    return total / len(V)


def softmax_over_all(V: Vectors, F: Vectors, own: list[int], tau: float) -> float:
    """NPID Eq. 2, as a mean of negative logarithms."""
    total = 0.0
    for v, i in zip(V, own, strict=True):
        total -= log(exp(dot(v, F[i]) / tau) / sum(exp(dot(v, f) / tau) for f in F))
    return total / len(V)


def remembered(F: Vectors, V: Vectors, own: list[int], momentum: float) -> Vectors:
    after = [list(f) for f in F]
    for v, i in zip(V, own, strict=True):
        after[i] = unit([momentum * a + (1 - momentum) * b for a, b in zip(F[i], v, strict=True)])
    return after


def info_nce(Q: Vectors, K: Vectors, queue: Vectors, tau: float) -> float:
    """MoCo Eq. 1: each query's own key against the queue."""
    total = 0.0
    for q, k in zip(Q, K, strict=True):
        own = exp(dot(q, k) / tau)
        total -= log(own / (own + sum(exp(dot(q, other) / tau) for other in queue)))
    return total / len(Q)
