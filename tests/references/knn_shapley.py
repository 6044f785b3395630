"""The value of training images to a k-nearest-neighbor classifier, in plain loops.

Jia et al., "Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms", 2019.
"""


def utility(present: frozenset[int], s: list[float], match: list[int], K: int) -> float:
    """v(S) = 1/K times the matches among the min(K, |S|) nearest of S; no two similarities are equal."""
    nearest = sorted(present, key=lambda i: -s[i])[:K]
    return sum(match[i] for i in nearest) / K


def values(s: list[float], match: list[int], K: int) -> list[float]:
    """Theorem 1, from the farthest image inward; of equal similarities the lower index is nearer."""
    N = len(s)
    alpha = sorted(range(N), key=lambda i: (-s[i], i))
    value = [0.0] * N
    value[alpha[-1]] = match[alpha[-1]] / max(K, N)
    for i in range(N - 1, 0, -1):
        here, beyond = alpha[i - 1], alpha[i]
        value[here] = value[beyond] + (match[here] - match[beyond]) / K * min(K, i) / i
    return value
