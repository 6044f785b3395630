"""Votes of the nearest neighbors in plain loops, from the similarities to the supports of each class.

Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", 2018: the k nearest of the memory
vote for their class with the weight exp(s / tau).
"""

from math import exp, inf, log

Similarities = list[list[float]]  # one list per class, of any length


def voters(S: Similarities, k: int) -> list[list[int]]:
    """The shots of each class that are among the k nearest of all; of ties the lower class, then the lower shot."""
    ranked = sorted((-s, c, i) for c, of_class in enumerate(S) for i, s in enumerate(of_class))
    chosen: list[list[int]] = [[] for _ in S]
    for _, c, i in ranked[:k]:
        chosen[c].append(i)
    return [sorted(shots) for shots in chosen]


def log_votes(S: Similarities, k: int, tau: float) -> list[float]:
    """log v_c with v_c = sum over the voters of class c of exp(s / tau)."""
    scores = []
    for of_class, chosen in zip(S, voters(S, k), strict=True):
        v = 0.0
        for i in chosen:
            v += exp(of_class[i] / tau)
        scores.append(log(v) if chosen else -inf)
    return scores


def how_similar_and_how_many(s: list[float], tau: float) -> tuple[float, float]:
    """log v = E_pi[s] / tau + H(pi), pi in proportion to exp(s / tau)."""
    total = 0.0
    for s_k in s:
        total += exp(s_k / tau)
    pi = [exp(s_k / tau) / total for s_k in s]
    expected = sum(p * s_k for p, s_k in zip(pi, s, strict=True))
    return expected / tau, -sum(p * log(p) for p in pi)


def mean_of_voters(S: Similarities, k: int) -> tuple[list[float], list[int]]:
    """The mean similarity of each class's voters, and their number."""
    means, counts = [], []
    for of_class, chosen in zip(S, voters(S, k), strict=True):
        means.append(sum(of_class[i] for i in chosen) / len(chosen) if chosen else -inf)
        counts.append(len(chosen))
    return means, counts


def nearest(S: Similarities) -> list[float]:
    """The largest similarity within each class."""
    return [max(of_class) for of_class in S]
