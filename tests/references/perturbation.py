"""Curves, filled pixels and sanity figures in plain loops: x[channel][y][x] an image, L[y][x] a map."""

from math import log, nan, sqrt

from references.localization import flat
from references.upsampling import Map

Image = list[Map]
NEIGHBORS = {
    (dy, dx): 1 / 6 if 0 in {dy, dx} else 1 / 12 for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
}


def ranked(L: Map) -> list[int]:
    """Pixels from the largest positive part to the smallest; for maps without ties."""
    values = flat(L)
    return sorted(range(len(values)), key=lambda p: -values[p])


def with_pixels(original: Image, replacement: Image, kept: set[int]) -> Image:
    width = len(original[0][0])
    return [
        [[(x if y * width + u in kept else r) for u, (x, r) in enumerate(zip(row, other, strict=True))]
         for y, (row, other) in enumerate(zip(plane, other_plane, strict=True))]
        for plane, other_plane in zip(original, replacement, strict=True)
    ]  # fmt: skip


def deletion_images(x: Image, L: Map, removed: Image, steps: int) -> list[Image]:
    order = ranked(L)
    counts = [round(t / steps * len(order)) for t in range(steps + 1)]
    return [with_pixels(x, removed, set(order[count:])) for count in counts]


def insertion_images(x: Image, L: Map, removed: Image, steps: int) -> list[Image]:
    order = ranked(L)
    counts = [round(t / steps * len(order)) for t in range(steps + 1)]
    return [with_pixels(x, removed, set(order[:count])) for count in counts]


def area(scores: list[float]) -> float:
    """Trapezoids of equal width over [0, 1]."""
    steps = len(scores) - 1
    return sum((scores[t] + scores[t + 1]) / 2 / steps for t in range(steps))


def filled(plane: Map, kept: list[list[bool]], rounds: int = 4000) -> Map:
    """Replace every pixel that is not kept by the weighted mean of its neighbors, again and again until it settles."""
    values = [[v if k else 0.0 for v, k in zip(row, keep, strict=True)] for row, keep in zip(plane, kept, strict=True)]
    height, width = len(plane), len(plane[0])
    for _ in range(rounds):
        for y in range(height):
            for x in range(width):
                if kept[y][x]:
                    continue
                total = weight = 0.0
                for (dy, dx), w in NEIGHBORS.items():
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        total += w * values[y + dy][x + dx]
                        weight += w
                values[y][x] = total / weight
    return values


def complexity(L: Map) -> float:
    values = flat(L)
    if sum(values) == 0.0:
        return nan
    entropy = 0.0
    for v in values:
        if v > 0:
            entropy -= v / sum(values) * log(v / sum(values))
    return entropy


def completeness_error(parts: list[float], bias: float, score: float) -> float:
    return nan if score == 0 else abs(score - (sum(parts) + bias)) / abs(score)


def correlation(a: list[float], b: list[float]) -> float:
    if len(set(a)) == 1 or len(set(b)) == 1:
        return nan
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    covariance = sum((p - mean_a) * (q - mean_b) for p, q in zip(a, b, strict=True))
    return covariance / sqrt(sum((p - mean_a) ** 2 for p in a) * sum((q - mean_b) ** 2 for q in b))


def ranks(values: list[float]) -> list[float]:
    """Ranks from 1, equal values sharing their mean rank."""
    return [sum(1.0 for v in values if v < value) + (values.count(value) + 1) / 2 for value in values]


def norm(values: list[float]) -> float:
    return sqrt(sum(v * v for v in values))


def gains(s: list[float], s_masked: list[float]) -> list[float]:
    return [nan if a >= 1 else 100 * max(0.0, b - a) / (1 - a) for a, b in zip(s, s_masked, strict=True)]


def normalized_drops(s: list[float], s_masked: list[float], s_blank: list[float]) -> list[float]:
    return [nan if a <= c else (a - b) / (a - c) for a, b, c in zip(s, s_masked, s_blank, strict=True)]


def box_accuracy(found: list[list[float]], overlaps: list[float]) -> list[list[float]]:
    """Share of images that reach each overlap, at each threshold; images with NaN do not count."""
    known = [row for row in found if all(v == v for v in row)]
    columns = len(found[0])
    if not known:
        return [[nan] * columns for _ in overlaps]
    return [[sum(1 for row in known if row[t] >= d) / len(known) for t in range(columns)] for d in overlaps]
