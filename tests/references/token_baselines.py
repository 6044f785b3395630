"""Baselines for tokens, written with the papers' letters over a plain transformer in NumPy; derivatives by differences.

A block is a dict of arrays: g1 b1 (first norm), Wq Wk Wv bq bk bv, Wo bo, g2 b2 (second norm), W1 c1 W2 c2 (MLP).
Tokens are rows; A[l][h][i][j] is how much token i attends to token j.
"""

from math import erf, exp, sqrt

import numpy as np

STEP = 1e-5


def norm(x, gain, bias, eps):
    centered = x - x.mean(axis=-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + eps) * gain + bias


def gelu(x):
    return x * (1 + np.vectorize(erf)(x / sqrt(2))) / 2


def attention(x, b, heads, eps):
    n, d = norm(x, b["g1"], b["b1"], eps), x.shape[1] // heads
    q, k = n @ b["Wq"].T + b["bq"], n @ b["Wk"].T + b["bk"]
    A = np.zeros((heads, len(x), len(x)))
    for h in range(heads):
        part = slice(h * d, (h + 1) * d)
        for i in range(len(x)):
            e = [exp(float(q[i, part] @ k[j, part]) / sqrt(d)) for j in range(len(x))]
            A[h, i] = [one / sum(e) for one in e]
    return A


def values(x, b, eps):
    return norm(x, b["g1"], b["b1"], eps) @ b["Wv"].T + b["bv"]


def block(x, b, A, eps):
    """Return the tokens behind a block whose attention is A."""
    v, d = values(x, b, eps), x.shape[1] // len(A)
    heads = [A[h] @ v[:, h * d : (h + 1) * d] for h in range(len(A))]
    y = x + np.concatenate(heads, axis=1) @ b["Wo"].T + b["bo"]
    return y + gelu(norm(y, b["g2"], b["b2"], eps) @ b["W1"].T + b["c1"]) @ b["W2"].T + b["c2"]


def run(x, blocks, heads, eps, given=None):
    """Return the tokens behind each block and the attention of each; ``given`` replaces that of one block."""
    behind, found = [], []
    for l, b in enumerate(blocks):
        A = attention(x, b, heads, eps) if given is None or given[0] != l else given[1]
        x = block(x, b, A, eps)
        behind.append(x)
        found.append(A)
    return behind, found


def derivative(f, A):
    """∂f/∂A, entry by entry, by central differences."""
    found = np.zeros_like(A)
    for at in np.ndindex(A.shape):
        up, down = A.copy(), A.copy()
        up[at] += STEP
        down[at] -= STEP
        found[at] = (f(up) - f(down)) / (2 * STEP)
    return found


def rollout(A):
    """Abnar and Zuidema: every row of Ã_L ⋯ Ã_1, Ã = 0.5 A + 0.5 I with rows that sum to 1."""
    tokens = A[0].shape[-1]
    R = np.eye(tokens)
    for one in A:
        mixed = 0.5 * one.mean(axis=0) + 0.5 * np.eye(tokens)
        for i in range(tokens):
            mixed[i] = mixed[i] / mixed[i].sum()
        R = mixed @ R
    return R


def chefer(A, gradients):
    """Chefer, Gur, Wolf, Eqs. 5 and 6: R = I; Ā = E_h[(∇A ⊙ A)⁺]; R ← R + Ā R."""
    R = np.eye(A[0].shape[-1])
    for one, gradient in zip(A, gradients, strict=True):
        mean = np.zeros_like(R)
        for h in range(len(one)):
            mean += np.maximum(gradient[h] * one[h], 0) / len(one)
        R = R + mean @ R
    return R


def legrad(gradients):
    """Bousselham et al.: 1/L Σ_l 1/(h n) Σ_h Σ_i (∂s^l/∂A^l_hi)⁺."""
    total = np.zeros(gradients[0].shape[-1])
    for gradient in gradients:
        for h in range(len(gradient)):
            for i in range(gradient.shape[1]):
                total += np.maximum(gradient[h, i], 0) / (gradient.shape[0] * gradient.shape[1] * len(gradients))
    return total


def value_path(x, b, eps):
    """Each token's value in a block, out of its heads; no residual stream, no MLP."""
    return values(x, b, eps) @ b["Wo"].T + b["bo"]
