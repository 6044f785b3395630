"""One few-shot task."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class Episode:
    """The images of one few-shot task, as indices into the data set.

    ``classes`` are labels of the data set; row w of ``support`` and of ``query`` holds images of
    ``classes[w]``. No image stands in both.
    """

    classes: Int64[np.ndarray, "way"]
    support: Int64[np.ndarray, "way shot"]
    query: Int64[np.ndarray, "way n_query"]
