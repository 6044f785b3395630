"""Gradient-based class activation maps in plain loops, before their ReLU.

A[n][y][x] is channel n of the activation maps, g[n][y][x] the derivative of the score by that activation, L the map.
"""

from math import exp, sqrt

from references.upsampling import Map

Maps = list[Map]


def weighted(A: Maps, a: list[float]) -> Map:
    """L = Σ_n a_n A^n."""
    h, w = len(A[0]), len(A[0][0])
    return [[sum(a[n] * A[n][y][x] for n in range(len(A))) for x in range(w)] for y in range(h)]


def grad_cam(A: Maps, g: Maps) -> tuple[list[float], Map]:
    """a_n: the mean of the gradient over the cells."""
    a = []
    for channel in g:
        Z = len(channel) * len(channel[0])
        a.append(sum(v for row in channel for v in row) / Z)
    return a, weighted(A, a)


def grad_cam_plus_plus(A: Maps, g: Maps, S: float = 0.0) -> tuple[list[float], Map]:
    """w_n = Σ α relu(∂Y/∂A), Y = exp(S), α = ∂²Y / (2 ∂²Y + ΣA ∂³Y), S linear in the activations."""
    w = []
    for n in range(len(A)):
        total_A = sum(v for row in A[n] for v in row)
        w_n = 0.0
        for row in g[n]:
            for v in row:
                first, second, third = exp(S) * v, exp(S) * v**2, exp(S) * v**3
                below = 2 * second + total_A * third
                alpha = second / below if below != 0 else 0.0
                w_n += alpha * max(first, 0.0)
        w.append(w_n)
    return w, weighted(A, w)


def xgrad_cam(A: Maps, g: Maps) -> tuple[list[float], Map]:
    """a_n = Σ_yx (A_yx / Σ A) g_yx."""
    a = []
    for n in range(len(A)):
        total_A = sum(v for row in A[n] for v in row)
        a_n = 0.0
        for y, row in enumerate(g[n]):
            for x, v in enumerate(row):
                a_n += v * A[n][y][x] / total_A if total_A != 0 else 0.0
        a.append(a_n)
    return a, weighted(A, a)


def cellwise(A: Maps, g: Maps, rectified: bool) -> tuple[list[float], Map]:
    """L_yx = Σ_n g A, of HiResCAM; with g rectified, of LayerCAM."""
    h, w = len(A[0]), len(A[0][0])
    L, a = [[0.0] * w for _ in range(h)], [0.0] * len(A)
    for n in range(len(A)):
        for y in range(h):
            for x in range(w):
                v = max(g[n][y][x], 0.0) if rectified else g[n][y][x]
                L[y][x] += v * A[n][y][x]
                a[n] += v * A[n][y][x]
    return a, L


def hirescam(A: Maps, g: Maps) -> tuple[list[float], Map]:
    return cellwise(A, g, rectified=False)


def layercam(A: Maps, g: Maps) -> tuple[list[float], Map]:
    return cellwise(A, g, rectified=True)


def eigen_cam(A: Maps, steps: int = 2000) -> Map:
    """The projection on the first principal component, by power iteration; its sign goes along with the mean map."""
    h, w = len(A[0]), len(A[0][0])
    rows = [[v for row in channel for v in row] for channel in A]
    rows = [[v - sum(row) / len(row) for v in row] for row in rows]
    axis = [1.0 + 0.1 * n for n in range(len(rows))]
    for _ in range(steps):
        scores = [sum(axis[n] * rows[n][p] for n in range(len(rows))) for p in range(h * w)]
        axis = [sum(row[p] * scores[p] for p in range(h * w)) for row in rows]
        length = sqrt(sum(v * v for v in axis))
        axis = [v / length for v in axis]
    scores = [sum(axis[n] * rows[n][p] for n in range(len(rows))) for p in range(h * w)]
    mean_map = [sum(row[p] for row in rows) / len(rows) for p in range(h * w)]
    if sum(s * m for s, m in zip(scores, mean_map, strict=True)) < 0:
        scores = [-s for s in scores]
    return [scores[y * w : (y + 1) * w] for y in range(h)]
