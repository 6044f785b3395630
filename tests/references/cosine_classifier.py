"""Baseline++ of Chen et al., "A Closer Look at Few-shot Classification", 2019, in plain loops.

Class scores scale * cos(x, w_c); w by gradient descent with momentum on the mean cross-entropy of the supports.
"""

from math import exp, sqrt

Vector = list[float]


def unit(v: Vector) -> Vector:
    length = sqrt(sum(a * a for a in v))
    return [a / length for a in v]


def softmax(values: Vector) -> Vector:
    e = [exp(v - max(values)) for v in values]
    return [v / sum(e) for v in e]


def scores(x: Vector, w: list[Vector], scale: float) -> Vector:
    return [scale * sum(a * b for a, b in zip(unit(x), unit(w_c), strict=True)) for w_c in w]


def fit(
    classes: list[list[Vector]], scale: float, steps: int, learning_rate: float, momentum: float = 0.9
) -> list[Vector]:
    """The weight vectors, which start at the means of the normalized supports."""
    x = [(unit(q), c) for c, supports in enumerate(classes) for q in supports]
    J = len(x[0][0])
    w = [[sum(q[j] for q, y in x if y == c) / len(classes[c]) for j in range(J)] for c in range(len(classes))]
    velocity = [[0.0] * J for _ in classes]
    for _ in range(steps):
        gradient = [gradient_of(c, w, x, scale) for c in range(len(classes))]
        for c in range(len(classes)):
            velocity[c] = [momentum * v + g for v, g in zip(velocity[c], gradient[c], strict=True)]
            w[c] = [a - learning_rate * v for a, v in zip(w[c], velocity[c], strict=True)]
    return w


def gradient_of(c: int, w: list[Vector], x: list[tuple[Vector, int]], scale: float) -> Vector:
    """By w_c: the chain rule through w / |w|, which leaves only what is perpendicular to w."""
    J, u = len(w[c]), unit(w[c])
    by_unit = [0.0] * J
    for q, y in x:
        error = softmax(scores(q, w, scale))[c] - (y == c)
        for j in range(J):
            by_unit[j] += scale * error * q[j] / len(x)
    along = sum(a * b for a, b in zip(by_unit, u, strict=True))
    length = sqrt(sum(a * a for a in w[c]))
    return [(by_unit[j] - along * u[j]) / length for j in range(J)]
