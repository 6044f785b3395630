"""Tensors as the page reads them: little-endian float32 in base64, with their shape."""

import base64
import math
from typing import Any

from jaxtyping import Shaped
from torch import Tensor


def array(values: Shaped[Tensor, "..."]) -> dict[str, Any]:
    """Return a tensor's shape and numbers; NaN stays NaN."""
    given = values.detach().cpu().float().contiguous().numpy().astype("<f4")
    return {"shape": list(given.shape), "data": base64.b64encode(given.tobytes()).decode()}


def finite(value: float) -> float | None:
    """Return a number that JSON has, or None."""
    return value if math.isfinite(value) else None
