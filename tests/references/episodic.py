"""The two losses of Cross Attention Network's recipe and their weighting by Kendall et al., in plain loops."""

from math import exp, log, sqrt

Vectors = list[list[float]]


def cosine(z: list[float], w: list[float]) -> float:
    return sum(a * b for a, b in zip(z, w, strict=True)) / sqrt(sum(a * a for a in z) * sum(b * b for b in w))


def cross_entropy(logits: list[float], label: int) -> float:
    return log(sum(exp(v) for v in logits)) - logits[label]


def few_shot(Z: Vectors, way: int, shot: int, n_query: int, temperature: float) -> list[float]:
    """Return the loss of each query; the supports come first, class after class, then the queries likewise."""
    prototypes = []
    for c in range(way):
        rows = Z[c * shot : (c + 1) * shot]
        prototypes.append([sum(column) / shot for column in zip(*rows, strict=True)])
    losses = []
    for c in range(way):
        for k in range(n_query):
            z = Z[way * shot + c * n_query + k]
            losses.append(cross_entropy([temperature * cosine(z, prototype) for prototype in prototypes], c))
    return losses


def over_all_classes(Z: Vectors, y: list[int], W: Vectors, b: list[float]) -> list[float]:
    losses = []
    for z, label in zip(Z, y, strict=True):
        logits = [sum(a * c for a, c in zip(z, w, strict=True)) + bias for w, bias in zip(W, b, strict=True)]
        losses.append(cross_entropy(logits, label))
    return losses


def weighted(losses: list[float], s: list[float]) -> float:
    return sum(exp(-v) * loss + v / 2 for loss, v in zip(losses, s, strict=True))
