"""Localization metrics in plain loops: L[y][x] a map, inside[y][x] whether a pixel belongs to the target."""

from itertools import pairwise
from math import isfinite, nan

from references.upsampling import Map

Mask = list[list[bool]]
Box = tuple[float, float, float, float]


def flat(L: Map) -> list[float]:
    """The positive part, row by row; all zero where there is a NaN or infinite pixel, which makes all metrics NaN."""
    values = [v for row in L for v in row]
    if not all(isfinite(v) for v in values):
        return [0.0] * len(values)
    return [max(v, 0.0) for v in values]


def flat_mask(inside: Mask) -> list[bool]:
    return [v for row in inside for v in row]


def has_no_value(values: list[float], mask: list[bool]) -> bool:
    return max(values) == 0.0 or not any(mask)


def proportion(L: Map, inside: Mask) -> float:
    """FAM Eq. 19."""
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask):
        return nan
    numerator = denominator = 0.0
    for p in range(len(values)):
        denominator += values[p]
        if mask[p]:
            numerator += values[p]
    return numerator / denominator


def pointing_game(L: Map, inside: Mask) -> float:
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask):
        return nan
    winners = [p for p in range(len(values)) if values[p] == max(values)]
    return sum(1 for p in winners if mask[p]) / len(winners)


def expected_hits(values: list[float], mask: list[bool], k: int) -> float:
    """Pixels of the mask among the k largest, every choice among equal values being equally likely."""
    hits, places = 0.0, k
    for value in sorted(set(values), reverse=True):
        group = [p for p in range(len(values)) if values[p] == value]
        taken = min(places, len(group))
        hits += taken * sum(1 for p in group if mask[p]) / len(group)
        places -= taken
    return hits


def top_k_intersection(L: Map, inside: Mask, k: int) -> float:
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask):
        return nan
    k = min(k, len(values))
    return expected_hits(values, mask, k) / k


def relevance_rank_accuracy(L: Map, inside: Mask) -> float:
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask):
        return nan
    return expected_hits(values, mask, sum(mask)) / sum(mask)


def relevance_mass_accuracy(L: Map, inside: Mask) -> float:
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask):
        return nan
    return sum(values[p] for p in range(len(values)) if mask[p]) / sum(values)


def auc(L: Map, inside: Mask) -> float:
    """Every pair of a pixel inside and one outside: won, lost, or half a win for a tie."""
    values, mask = flat(L), flat_mask(inside)
    if has_no_value(values, mask) or all(mask):
        return nan
    wins = pairs = 0.0
    for p in range(len(values)):
        for r in range(len(values)):
            if mask[p] and not mask[r]:
                pairs += 1
                wins += 1.0 if values[p] > values[r] else 0.5 if values[p] == values[r] else 0.0
    return wins / pairs


def sparseness(L: Map) -> float:
    """Gini index: half the mean absolute difference of two pixels over the mean."""
    values = flat(L)
    if max(values) == 0.0:
        return nan
    differences = 0.0
    for a in values:
        for b in values:
            differences += abs(a - b)
    return differences / (2 * len(values) * sum(values))


def component(bright: Mask, start: tuple[int, int]) -> set[tuple[int, int]]:
    """All bright pixels that can be reached from one by steps to any of the eight neighbors."""
    found, waiting = {start}, [start]
    while waiting:
        y, x = waiting.pop()
        steps = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        for v, u in steps:
            is_within = 0 <= v < len(bright) and 0 <= u < len(bright[0])
            if is_within and bright[v][u] and (v, u) not in found:
                found.add((v, u))
                waiting.append((v, u))
    return found


def largest_component_box(L: Map, threshold: float) -> Box:
    """(left, top, right, bottom), half-open, of the largest component of L >= threshold times its maximum."""
    values, width = flat(L), len(L[0])
    if max(values) == 0.0:
        return nan, nan, nan, nan
    bright = [[values[y * width + x] >= threshold * max(values) for x in range(width)] for y in range(len(L))]
    largest: set[tuple[int, int]] = set()
    for y in range(len(L)):
        for x in range(width):
            if bright[y][x] and len(component(bright, (y, x))) > len(largest):
                largest = component(bright, (y, x))
    rows, columns = [y for y, _ in largest], [x for _, x in largest]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def intersection_over_union(L: Map, box: Box, threshold: float) -> float:
    """FAM Eq. 20, the areas counted on the grid of all corners."""
    found = largest_component_box(L, threshold)
    if found[0] != found[0] or not (box[0] < box[2] and box[1] < box[3]):
        return nan
    intersection = union = 0.0
    for left, right in pairwise(sorted({found[0], found[2], box[0], box[2]})):
        for top, bottom in pairwise(sorted({found[1], found[3], box[1], box[3]})):
            covers = [b[0] <= left and right <= b[2] and b[1] <= top and bottom <= b[3] for b in (found, box)]
            area = (right - left) * (bottom - top)
            intersection += area if all(covers) else 0.0
            union += area if any(covers) else 0.0
    return intersection / union
