"""RELAX in plain loops, as Wickstrøm et al.'s published code goes about it: one mask after the other.

G is a grid of 0 and 1, m a mask, s the cosine similarity of the masked image's embedding to the whole one's.
"""

from math import sqrt
from statistics import median_low

from references.upsampling import Map, bilinear


def reflected(i: int, n: int) -> int:
    """Position i of an axis of n pixels that is mirrored at its first and its last pixel."""
    i = -i if i < 0 else i
    return 2 * (n - 1) - i if i >= n else i


def mask(G: Map, down: int, right: int, height: int, width: int) -> Map:
    """Upsample, pad by half a grid of reflected pixels, cut out at the shift."""
    up, pad = bilinear(G, height, width), len(G) // 2
    return [
        [up[reflected(y + down - pad, height)][reflected(x + right - pad, width)] for x in range(width)]
        for y in range(height)
    ]


def cosine(h: list[float], h_star: list[float]) -> float:
    product = sum(a * b for a, b in zip(h, h_star, strict=True))
    return product / (sqrt(sum(a * a for a in h)) * sqrt(sum(b * b for b in h_star)))


def importance_and_uncertainty(masks: list[Map], s: list[float]) -> tuple[Map, Map]:
    """The running weighted mean R and the running weighted sum of squares U."""
    height, width = len(masks[0]), len(masks[0][0])
    R, U = [[0.0] * width for _ in range(height)], [[0.0] * width for _ in range(height)]
    W = [[1e-10] * width for _ in range(height)]
    for m, s_m in zip(masks, s, strict=True):
        for y in range(height):
            for x in range(width):
                W[y][x] += m[y][x]
                before = R[y][x]
                R[y][x] += m[y][x] * (s_m - before) / W[y][x]
                U[y][x] += (s_m - R[y][x]) * (s_m - before) * m[y][x]
    return R, U


def u_relax(R: Map, U: Map) -> Map:
    """R where U is no more than its median, which of an even number of pixels is the lower middle one."""
    limit = median_low([u for row in U for u in row])
    return [[r if u <= limit else 0.0 for r, u in zip(rows, us, strict=True)] for rows, us in zip(R, U, strict=True)]
