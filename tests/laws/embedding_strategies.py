"""Small tensors in float64 whose values hypothesis chooses: quarters, so that ties, zeros and signs are common."""

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor


@st.composite
def quarters(draw, *shape: int, low: int = -8, high: int = 8) -> Tensor:
    """Any values, all zero included."""
    count = torch.Size(shape).numel()
    values = draw(st.lists(st.integers(low, high), min_size=count, max_size=count))
    return torch.tensor(values, dtype=torch.float64).reshape(shape) / 4


@st.composite
def embeddings(draw, *shape: int, low: int = -8) -> Tensor:
    """Embeddings along the last dimension, none of them zero."""
    drawn = draw(quarters(*shape, low=low))
    assume((drawn.norm(dim=-1) > 0).all())
    return drawn


@st.composite
def shot_masks(draw, way: int, shot: int) -> Tensor:
    """Which supports are real: at least the first of each class."""
    counts = torch.tensor(draw(st.lists(st.integers(1, shot), min_size=way, max_size=way)))
    return torch.arange(shot) < counts[:, None]


def assert_equal(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    """Agree up to a share of the largest absolute value."""
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)
