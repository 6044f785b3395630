"""Score-CAM, Ablation-CAM and SBSM in plain loops.

A[k] is activation map k, x[c][v][u] the image. ``score`` is asked for the score of an image as nested lists;
``ablated_score`` for that of the image with map k set to zero.
"""

from collections.abc import Callable
from math import exp

from references.lafam import normalized
from references.upsampling import Map, bilinear

Image = list[Map]


def times(x: Image, M: Map) -> Image:
    return [[[v * m for v, m in zip(row, masks, strict=True)] for row, masks in zip(c, M, strict=True)] for c in x]


def class_activation_map(A: list[Map], alpha: list[float]) -> Map:
    """ReLU of the weighted sum of the maps."""
    cells = [[0.0] * len(A[0][0]) for _ in A[0]]
    for k, channel in enumerate(A):
        for y, row in enumerate(channel):
            for x, a in enumerate(row):
                cells[y][x] += alpha[k] * a
    return [[max(v, 0.0) for v in row] for row in cells]


def score_cam_weights(A: list[Map], x: Image, score: Callable[[Image], float]) -> list[float]:
    """Score-CAM: softmax over channels of the increase over a black image."""
    height, width = len(x[0]), len(x[0][0])
    black = score(times(x, [[0.0] * width] * height))
    C = [score(times(x, normalized(bilinear(channel, height, width)))) - black for channel in A]
    return [exp(c) / sum(exp(other) for other in C) for c in C]


def ablation_cam_weights(channels: int, y: float, ablated_score: Callable[[int], float]) -> list[float]:
    """Ablation-CAM: (y - y_k) / y, with |y| below so that a negative score keeps the sign of a drop."""
    return [(y - ablated_score(k)) / abs(y) for k in range(channels)]


def occlusion(x: Image, window: int, stride: int, score: Callable[[Image], float]) -> Map:
    """SBSM: the mean over squares that hide a pixel of the drop of the score, an increase counting 0."""
    height, width = len(x[0]), len(x[0][0])
    whole = score(x)
    total, count = [[0.0] * width for _ in range(height)], [[0] * width for _ in range(height)]
    for top in range(stride - window, height, stride):
        for left in range(stride - window, width, stride):
            hidden = [
                [top <= v < top + window and left <= u < left + window for u in range(width)] for v in range(height)
            ]
            drop = max(whole - score(times(x, [[0.0 if h else 1.0 for h in row] for row in hidden])), 0.0)
            for v in range(height):
                for u in range(width):
                    total[v][u] += drop * hidden[v][u]
                    count[v][u] += hidden[v][u]
    return [[t / c for t, c in zip(ts, cs, strict=True)] for ts, cs in zip(total, count, strict=True)]
