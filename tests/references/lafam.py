"""LaFAM, Eqs. 1 and 2, in plain loops.

Karjauv, Albayrak, "Unsupervised Feature Attribution with Label-free Activation Maps", 2024. A[k][y][x] is channel k.
"""

from references.upsampling import Map, bilinear, nearest


def mean_map(A: list[Map]) -> Map:
    """LaFAM Eq. 1: the mean over channels."""
    h, w = len(A[0]), len(A[0][0])
    M = [[0.0] * w for _ in range(h)]
    for channel in A:
        for y in range(h):
            for x in range(w):
                M[y][x] += channel[y][x] / len(A)
    return M


def normalized(M: Map) -> Map:
    """N of LaFAM Eq. 2: min-max over the cells, before upsampling; constant values become ones."""
    low, high = min(min(row) for row in M), max(max(row) for row in M)
    if high == low:
        return [[1.0 for _ in row] for row in M]
    return [[(v - low) / (high - low) for v in row] for row in M]


def saliency_nearest(A: list[Map], height: int, width: int) -> Map:
    """LaFAM Eq. 2, as for the paper's tables."""
    return nearest(normalized(mean_map(A)), height, width)


def saliency_bilinear(A: list[Map], height: int, width: int) -> Map:
    """LaFAM Eq. 2, to look at."""
    return bilinear(normalized(mean_map(A)), height, width)
