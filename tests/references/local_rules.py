"""Decisions over local features a second time, slowly, from the papers' texts: lists of cells, loops, a linear program.

A class is a list of supports, a support a list of cells, a cell a list of numbers.
"""

import math

import numpy as np
from scipy.optimize import linprog

Cell = list[float]


def dot(a: Cell, b: Cell) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: Cell, b: Cell) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def minus_squared_distance(a: Cell, b: Cell) -> float:
    return -sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


SIMILARITIES = {"cosine": cosine, "inner-product": dot, "euclidean": minus_squared_distance}


def max_sim(query: list[Cell], supports: list[list[Cell]], similarity) -> float:
    """ColBERT: every cell of the query takes its best match; the mean over documents."""
    return sum(sum(max(similarity(x, y) for y in support) for x in query) for support in supports) / len(supports)


def dn4(query: list[Cell], supports: list[list[Cell]], similarity, neighbors: int = 3) -> float:
    """DN4, Eq. 2: for every cell its k most similar cells of all that the class has."""
    pool = [y for support in supports for y in support]
    return sum(sum(sorted((similarity(x, y) for y in pool), reverse=True)[:neighbors]) for x in query)


def deep_emd(query: list[Cell], supports: list[list[Cell]], similarity) -> float:
    """DeepEMD, Eqs. 1 to 7, by a linear program over all P·R flows."""
    cells, channels = len(supports[0]), len(query[0])
    mean = [[sum(s[r][j] for s in supports) / len(supports) for j in range(channels)] for r in range(cells)]

    def average(image):
        return [sum(cell[j] for cell in image) / len(image) for j in range(channels)]

    def weights(image, other):
        found = [max(dot(cell, average(other)), 0) + 1e-3 + 1e-5 for cell in image]
        return [one / sum(found) for one in found]

    def centered(cell):
        return [value - sum(cell) / channels for value in cell]

    ours, theirs = weights(query, mean), weights(mean, query)
    alike = [[similarity(centered(x), centered(y)) for y in mean] for x in query]
    costs = np.array([[1 - one for one in row] for row in alike])
    rows, columns = costs.shape
    leaving = np.kron(np.eye(rows), np.ones(columns))
    arriving = np.kron(np.ones(rows), np.eye(columns))
    solved = linprog(costs.ravel(), A_eq=np.vstack([leaving, arriving]), b_eq=np.array(ours + theirs))
    return float((solved.x * np.array(alike).ravel()).sum())


def frn(
    query: list[Cell], supports: list[list[Cell]], alpha: float = 0.0, beta: float = 0.0, scale: float = 1.0
) -> float:
    """FRN, Eqs. 3 to 9: every cell alone, its ridge regression as a least-squares problem with more rows."""
    pool = np.array([y for support in supports for y in support])
    ridge = len(pool) / pool.shape[1] * math.exp(alpha) + 1e-6
    design = np.vstack([pool.T, math.sqrt(ridge) * np.eye(len(pool))])
    total = 0.0
    for cell in query:
        weights = np.linalg.lstsq(design, np.concatenate([cell, np.zeros(len(pool))]), rcond=None)[0]
        total += float(((math.exp(beta) * weights @ pool - np.array(cell)) ** 2).sum())
    return -scale * total / len(query)


RULES = {"max-sim": max_sim, "dn4": dn4, "deep-emd": deep_emd, "frn": lambda query, supports, _: frn(query, supports)}
