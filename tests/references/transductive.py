"""BD-CSPN and LaplacianShot in plain loops, from the papers' text; a class is a list of embeddings.

Liu, Song and Qin, "Prototype Rectification for Few-Shot Learning", 2020; Ziko et al., "Laplacian Regularized Few-Shot
Learning", 2020, Algorithm 1.
"""

from math import exp, inf, log, sqrt

Vector = list[float]


def dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def cosine(one: Vector, other: Vector) -> float:
    return dot(one, other) / sqrt(dot(one, one) * dot(other, other))


def squared(one: Vector, other: Vector) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))


SIMILARITIES = {"cosine": cosine, "inner-product": dot, "euclidean": lambda one, other: -squared(one, other)}


def mean(vectors: list[Vector]) -> Vector:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def shift_of(classes: list[list[Vector]], unlabeled: list[Vector]) -> Vector:
    supports = [support for group in classes for support in group]
    return [a - b for a, b in zip(mean(supports), mean(unlabeled), strict=True)]


def rectified(
    classes: list[list[Vector]], unlabeled: list[Vector], epsilon: float, confident: int | None = None
) -> list[Vector]:
    """The weighted mean of supports and pseudo-labeled images of each class."""
    means, shift = [mean(group) for group in classes], shift_of(classes, unlabeled)
    joined: list[list[tuple[float, Vector]]] = [[] for _ in classes]
    for image in unlabeled:
        moved = [a + b for a, b in zip(image, shift, strict=True)]
        alike = [cosine(moved, center) for center in means]
        label = alike.index(max(alike))
        joined[label].append((exp(alike[label]) / sum(map(exp, alike)), moved))
    found = []
    for group, center, others in zip(classes, means, joined, strict=True):
        others.sort(key=lambda pair: -pair[0])
        members = group + [image for _, image in (others if confident is None else others[:confident])]
        weights = [exp(epsilon * cosine(member, center)) for member in members]
        found.append([dot(weights, column) / sum(weights) for column in map(list, zip(*members, strict=True))])
    return found


def nearest(image: Vector, others: list[Vector], count: int, itself: int | None) -> list[int]:
    order = sorted((sqrt(squared(image, other)), j) for j, other in enumerate(others) if j != itself)
    return [j for _, j in order[:count]]


def softmax(values: Vector) -> Vector:
    powers = [exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def laplacian(
    unlabeled: list[Vector],
    prototypes: list[Vector],
    similarity: str,
    regularization: float,
    neighbors: int,
    steps: int,
) -> list[Vector]:
    """The scores that the last update makes the soft assignments of."""
    unary = [[SIMILARITIES[similarity](image, center) for center in prototypes] for image in unlabeled]
    near = [nearest(image, unlabeled, neighbors, i) for i, image in enumerate(unlabeled)]
    assigned, energy, scores = [softmax(row) for row in unary], inf, unary
    for step in range(steps):
        scores = [
            [a + regularization * sum(assigned[j][c] for j in near[i]) for c, a in enumerate(row)]
            for i, row in enumerate(unary)
        ]
        assigned = [softmax(row) for row in scores]
        before, energy = energy, 0.0
        for i, row in enumerate(assigned):
            for c, y in enumerate(row):
                pairs = sum(assigned[j][c] for j in near[i])
                energy += y * log(max(y, 1e-20)) - unary[i][c] * y - regularization * pairs * y
        if step > 1 and abs(energy - before) <= 1e-6 * abs(before):
            break
    return scores
