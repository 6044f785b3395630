"""Upsampling of a map of cells to the pixels of an image, cell by cell and pixel by pixel."""

from math import floor

Map = list[list[float]]


def bilinear_weights(cells: int, pixels: int) -> list[list[float]]:
    """Weight of every cell at every pixel of one axis: centers at half pixels (align_corners=False), edges clamped."""
    weights = [[0.0] * cells for _ in range(pixels)]
    for pixel in range(pixels):
        position = (pixel + 0.5) * cells / pixels - 0.5
        position = max(position, 0.0)
        left = min(floor(position), cells - 1)
        right = min(left + 1, cells - 1)
        t = min(position - left, 1.0)
        weights[pixel][left] += 1.0 - t
        weights[pixel][right] += t
    return weights


def bilinear(cells: Map, height: int, width: int) -> Map:
    """Bilinear interpolation, align_corners=False."""
    h, w = len(cells), len(cells[0])
    down, across = bilinear_weights(h, height), bilinear_weights(w, width)
    up = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            for i in range(h):
                for j in range(w):
                    up[y][x] += down[y][i] * across[x][j] * cells[i][j]
    return up


def nearest(cells: Map, height: int, width: int) -> Map:
    """Every pixel takes the value of the cell it lies in."""
    h, w = len(cells), len(cells[0])
    return [[cells[y * h // height][x * w // width] for x in range(width)] for y in range(height)]


def sum_kept(cells: Map, height: int, width: int) -> Map:
    """Bilinear, each cell's weights over all pixels divided by their sum, so that every cell keeps its mass."""
    h, w = len(cells), len(cells[0])
    down, across = bilinear_weights(h, height), bilinear_weights(w, width)
    up = [[0.0] * width for _ in range(height)]
    for i in range(h):
        for j in range(w):
            spread = [[down[y][i] * across[x][j] for x in range(width)] for y in range(height)]
            total = sum(sum(row) for row in spread)
            for y in range(height):
                for x in range(width):
                    up[y][x] += spread[y][x] / total * cells[i][j]
    return up
