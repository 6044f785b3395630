"""The mean of a figure over episodes, and how sure it is."""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from fsl_explain.devices import with_float64

NORMAL_QUANTILE = 1.96


class MeanInterval(NamedTuple):
    """A mean and half the width of its 95 % confidence interval, over ``counted`` values."""

    mean: float
    half_width: float
    counted: int


@with_float64
def mean_interval(values: Float[Tensor, "value"]) -> MeanInterval:
    """Return the mean, 1.96 standard errors of it, and the number of values that are not NaN.

    The standard deviation divides by the count, not by one less (ddof 0), as the few-shot papers do; so one value
    alone has an interval of width 0. Mean and half width are NaN where no value is left. Units are those of the values.
    """
    known = values[~values.isnan()].double()
    count = known.numel()
    if count == 0:
        return MeanInterval(math.nan, math.nan, 0)
    spread = float(known.std(correction=0))
    return MeanInterval(float(known.mean()), NORMAL_QUANTILE * spread / math.sqrt(count), count)
