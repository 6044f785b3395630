"""Ranking metrics in plain loops, with tied neighbors in every order.

Musgrave, Belongie, Lim, "A Metric Learning Reality Check", 2020; Oh Song et al., 2016 (Recall@k); Wu et al., 2018
(weighted vote). A list is the neighbors' (similarity, label), the query left out.
"""

from collections.abc import Callable
from itertools import groupby, permutations, product
from math import exp

Neighbor = tuple[float, int]
Metric = Callable[[list[Neighbor], int], float]


def orders(neighbors: list[Neighbor]) -> list[list[Neighbor]]:
    """Every order of the neighbors by falling similarity."""
    falling = sorted(neighbors, key=lambda n: -n[0])
    runs = [list(permutations(run)) for _, run in groupby(falling, key=lambda n: n[0])]
    return [[n for run in choice for n in run] for choice in product(*runs)]


def tied(neighbors: list[Neighbor], y: int, metric: Metric) -> tuple[float, float, float]:
    """The largest, mean and smallest value of a metric over all orders."""
    values = [metric(order, y) for order in orders(neighbors)]
    return max(values), sum(values) / len(values), min(values)


def recall(order: list[Neighbor], y: int, k: int) -> float:
    return float(any(label == y for _, label in order[:k]))


def precision(order: list[Neighbor], y: int, k: int) -> float:
    return sum(label == y for _, label in order[:k]) / k


def r_precision(order: list[Neighbor], y: int) -> float:
    return precision(order, y, sum(label == y for _, label in order))


def average_precision_at_r(order: list[Neighbor], y: int) -> float:
    """1/R times the sum over i = 1..R of P(i) rel(i)."""
    R = sum(label == y for _, label in order)
    total = 0.0
    for i in range(1, R + 1):
        if order[i - 1][1] == y:
            total += precision(order, y, i)
    return total / R


def votes(order: list[Neighbor], k: int, tau: float | None) -> dict[int, float]:
    """The votes of each class among the k nearest: exp(s / tau) each, or one each without tau."""
    v: dict[int, float] = {}
    for s, label in order[:k]:
        v[label] = v.get(label, 0.0) + (1.0 if tau is None else exp(s / tau))
    return v


def wins(order: list[Neighbor], y: int, k: int, tau: float | None, level: str) -> float:
    """Whether class y has most votes; level with others it shares the point, or wins it, or loses it."""
    v = votes(order, k, tau)
    most = max(v.values())
    winners = [c for c in v if v[c] > most * (1 - 1e-9)]
    if y not in winners:
        return 0.0
    return {"shares": 1 / len(winners), "wins": 1.0, "loses": float(len(winners) == 1)}[level]
