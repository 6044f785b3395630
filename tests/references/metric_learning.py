"""Multi-Similarity and Margin loss in plain loops, as research-ms-loss computes them; embeddings Z have norm 1."""

from math import exp, log, sqrt

Vectors = list[list[float]]


def dot(z: list[float], w: list[float]) -> float:
    return sum(a * b for a, b in zip(z, w, strict=True))


def multi_similarity(Z: Vectors, y: list[int], alpha: float, beta: float, base: float, epsilon: float) -> float:
    total = 0.0
    for i in range(len(Z)):
        S = [dot(Z[i], z) for z in Z]
        P = [S[j] for j in range(len(Z)) if y[j] == y[i] and S[j] < 1 - 1e-5]
        N = [S[j] for j in range(len(Z)) if y[j] != y[i]]
        kept_N = [s for s in N if s + epsilon > min(P)]
        kept_P = [s for s in P if s - epsilon < max(N)]
        if not kept_N or not kept_P:
            continue
        total += log(1 + sum(exp(-alpha * (s - base)) for s in kept_P)) / alpha
        total += log(1 + sum(exp(beta * (s - base)) for s in kept_N)) / beta
    return total / len(Z)


def distance(z: list[float], w: list[float]) -> float:
    return sqrt(sum((a - b) ** 2 for a, b in zip(z, w, strict=True)))


def margin(Z: Vectors, triplets: list[tuple[int, int, int]], betas: list[float], m: float) -> float:
    """Average over the active terms; ``betas`` holds the boundary of each image's class."""
    total, active = 0.0, 0
    for a, p, n in triplets:
        for term in (distance(Z[a], Z[p]) - betas[a] + m, betas[a] - distance(Z[a], Z[n]) + m):
            if term > 0:
                total, active = total + term, active + 1
    return total / active if active else 0.0


def negative_probabilities(Z: Vectors, y: list[int], a: int, cutoff: float) -> list[float]:
    """Chance of each image to be the negative of image a: one over the density of its distance on the sphere."""
    d, logs = len(Z[a]), {}
    for j in range(len(Z)):
        if y[j] != y[a]:
            r = max(distance(Z[a], Z[j]), cutoff)
            logs[j] = (2 - d) * log(r) - (d - 3) / 2 * log(1 - r * r / 4)
    top = max(logs.values())
    total = sum(exp(v - top) for v in logs.values())
    return [exp(logs[j] - top) / total if j in logs else 0.0 for j in range(len(Z))]
