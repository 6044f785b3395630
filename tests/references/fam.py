"""FAM, Eqs. 11 to 18, in plain loops.

Liao, Gao, Zhang, "Feature Activation Map: Visual Explanation of Deep Learning Models for Image Classification", 2023.

A[n][y][x] is channel n of the activation maps of the query, Z its pooled vector, Z_k that of support k of the class.
"""

from math import sqrt

from references.upsampling import Map, bilinear


def global_average(A: list[Map]) -> list[float]:
    """Z: the mean of every channel."""
    return [sum(sum(row) for row in channel) / (len(channel) * len(channel[0])) for channel in A]


def norm(z: list[float]) -> float:
    total = 0.0
    for v in z:
        total += v * v
    return sqrt(total)


def cosine(z: list[float], q: list[float]) -> float:
    """FAM Eq. 14."""
    s = 0.0
    for n in range(len(z)):
        s += z[n] * q[n] / (norm(z) * norm(q))
    return s


def mean_similarity(z: list[float], supports: list[list[float]]) -> float:
    """FAM Eq. 11."""
    S = 0.0
    for z_k in supports:
        S += cosine(z, z_k) / len(supports)
    return S


def predicted_class(z: list[float], classes: list[list[list[float]]]) -> int:
    """The class of the largest mean similarity, the first of several."""
    scores = [mean_similarity(z, supports) for supports in classes]
    return scores.index(max(scores))


def contribution_weights(z: list[float], supports: list[list[float]], kind: str = "cosine") -> list[float]:
    """FAM Eq. 15; the paper says that any metric may take the place of the cosine, each as its sum over channels."""
    n_channels, k_shots = len(z), len(supports)
    c = [0.0] * n_channels
    for z_k in supports:
        addends = of_channels(z, z_k, kind)
        s = sum(addends)
        for n in range(n_channels):
            c[n] += addends[n] / abs(s) / k_shots
    return c


def of_channels(z: list[float], q: list[float], kind: str) -> list[float]:
    """The share of each channel in a similarity."""
    if kind == "cosine":
        return [z[n] * q[n] / (norm(z) * norm(q)) for n in range(len(z))]
    if kind == "inner-product":
        return [z[n] * q[n] for n in range(len(z))]
    return [-((z[n] - q[n]) ** 2) for n in range(len(z))]


def embed(z: list[float], W: list[list[float]], b: list[float] | None = None) -> list[float]:
    """FAM Eq. 16: z' = z W + b, W with a row for each channel and a column for each dimension of the embedding."""
    n_dimensions = len(W[0])
    z_prime = [0.0] * n_dimensions if b is None else list(b)
    for j in range(n_dimensions):
        for n in range(len(z)):
            z_prime[j] += z[n] * W[n][j]
    return z_prime


def projected_weights(
    z: list[float],
    supports: list[list[float]],
    W: list[list[float]],
    b: list[float] | None = None,
    kind: str = "cosine",
) -> list[float]:
    """FAM Eqs. 17 and 18: C = W C'^T, C' of Eq. 15 on the embeddings."""
    c_prime = contribution_weights(embed(z, W, b), [embed(z_k, W, b) for z_k in supports], kind)
    C = [0.0] * len(z)
    for n in range(len(z)):
        for j in range(len(c_prime)):
            C[n] += W[n][j] * c_prime[j]
    return C


def min_max(c: list[float]) -> list[float]:
    """FAM Eq. 12; constant values become ones."""
    low, high = min(c), max(c)
    if high == low:
        return [1.0] * len(c)
    return [(v - low) / (high - low) for v in c]


def min_max_map(L: Map) -> Map:
    """norm of FAM Eq. 19: Eq. 12 over all values of a map."""
    width = len(L[0])
    flat = min_max([v for row in L for v in row])
    return [flat[y * width : (y + 1) * width] for y in range(len(L))]


def feature_activation_map(c: list[float], A: list[Map]) -> Map:
    """FAM Eqs. 12 and 13, before upsampling."""
    c_bar = min_max(c)
    h, w = len(A[0]), len(A[0][0])
    L = [[0.0] * w for _ in range(h)]
    for n in range(len(A)):
        for y in range(h):
            for x in range(w):
                L[y][x] += c_bar[n] * A[n][y][x]
    return L


def saliency(L: Map, height: int, width: int) -> Map:
    """norm(up(L)) of FAM Eq. 19."""
    return min_max_map(bilinear(L, height, width))


def explain(
    A: list[Map],
    supports: list[list[Map]],
    height: int,
    width: int,
    W: list[list[float]] | None = None,
    b: list[float] | None = None,
) -> tuple[list[float], Map, Map]:
    """From the activation maps of a query and of the supports of one class to (weights, cells, saliency)."""
    z, pooled = global_average(A), [global_average(A_k) for A_k in supports]
    c = contribution_weights(z, pooled) if W is None else projected_weights(z, pooled, W, b)
    L = feature_activation_map(c, A)
    return c, L, saliency(L, height, width)
