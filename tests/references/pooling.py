"""Pooling of D cells into one number per channel, and the share of each cell in it, in plain loops.

A[n][p] is channel n at cell p. Law: sum_p shares[n][p] = z[n].
"""

from math import exp, log

GAUSS_POINTS = ((-0.7745966692414834, 5 / 9), (0.0, 8 / 9), (0.7745966692414834, 5 / 9))


def gap(A: list[list[float]]) -> list[float]:
    return [sum(a) / len(a) for a in A]


def gap_shares(A: list[list[float]]) -> list[list[float]]:
    return [[v / len(a) for v in a] for a in A]


def gmp(A: list[list[float]]) -> list[float]:
    return [max(a) for a in A]


def gmp_shares(A: list[list[float]]) -> list[list[float]]:
    """The maximum, at the cells that have it; ties split evenly."""
    shares = []
    for a in A:
        winners = sum(1 for v in a if v == max(a))
        shares.append([v / winners if v == max(a) else 0.0 for v in a])
    return shares


def lse(A: list[list[float]], r: float) -> list[float]:
    """z = (1/r) log mean_p exp(r A_np)."""
    z = []
    for a in A:
        top = max(a)
        z.append(top + log(sum(exp(r * (v - top)) for v in a) / len(a)) / r)
    return z


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    e = [exp(v - top) for v in values]
    return [v / sum(e) for v in e]


def lse_shares(A: list[list[float]], r: float, panels: int = 400) -> list[list[float]]:
    """A_np times the integral over a from 0 to 1 of softmax_p(r a A_n), by Gauss' three points in each panel."""
    shares = []
    for a_n in A:
        integral = [0.0] * len(a_n)
        for panel in range(panels):
            for node, weight in GAUSS_POINTS:
                a = (panel + 0.5 + node / 2) / panels
                softened = softmax([r * a * v for v in a_n])
                for p in range(len(a_n)):
                    integral[p] += weight / 2 / panels * softened[p]
        shares.append([a_n[p] * integral[p] for p in range(len(a_n))])
    return shares


def gem(A: list[list[float]], p: float = 3.0, eps: float = 1e-6) -> list[float]:
    """z = (mean_p max(A_np, eps)^p)^(1/p)."""
    return [(sum(max(v, eps) ** p for v in a) / len(a)) ** (1 / p) for a in A]


def gem_shares(A: list[list[float]], p: float = 3.0, eps: float = 1e-6) -> list[list[float]]:
    """z_n times A_np^p over the sum of the powers."""
    shares = []
    for a, z in zip(A, gem(A, p, eps), strict=True):
        total = sum(max(v, eps) ** p for v in a)
        shares.append([z * max(v, eps) ** p / total for v in a])
    return shares
