"""Shapley values by their definition: the mean marginal value of each player over all orders of arrival."""

from collections.abc import Callable
from itertools import combinations
from math import factorial


def values(game: Callable[[frozenset[int]], float], players: int) -> list[float]:
    """The Shapley value of each player, from the game's value of every subset."""
    worth = {
        frozenset(T): game(frozenset(T)) for size in range(players + 1) for T in combinations(range(players), size)
    }
    shares = [0.0] * players
    for T, value in worth.items():
        orders = factorial(len(T)) * factorial(players - len(T) - 1) / factorial(players) if len(T) < players else 0.0
        for p in set(range(players)) - T:
            shares[p] += orders * (worth[T | {p}] - value)
    return shares
