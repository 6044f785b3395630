"""Connected components of a batch of binary images, found on their horizontal runs.

A thresholded map is a few thousand runs where it is half a million pixels, so that linking runs costs a fraction of
labeling pixels, and every step is one array operation for the whole batch.

Notation: a run is a longest row of set pixels side by side, and the positions of its first pixel and of the place
after its last are counted through the batch, with an empty column before every image row and an empty image row after
every image. Runs are in scan order: row by row, image by image.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csgraph, csr_array


def boxes_of_largest_components(pixels: Bool[np.ndarray, "batch height width"]) -> Float[np.ndarray, "batch 4"]:
    """Return the tight box (left, top, right, bottom; half-open) of the largest component of each image.

    Pixels that touch at a side or a corner are connected. Of components of the same size the first in scan order
    counts. Four NaN for an image without a set pixel.
    """
    batch, height, width = pixels.shape
    row_stride = width + 1
    image_stride = row_stride * (height + 1)
    starts, ends = _runs(pixels)
    image = starts // image_stride
    kept = _in_largest_component(_components(starts, ends, row_stride), ends - starts, image)
    starts, ends, image = starts[kept], ends[kept], image[kept]
    row = starts % image_stride // row_stride
    column = starts % row_stride - 1
    drawn, first_run = np.unique(image, return_index=True)
    boxes = np.full((batch, 4), np.nan)
    boxes[drawn, 0] = np.minimum.reduceat(column, first_run)
    boxes[drawn, 1] = row[first_run]
    boxes[drawn, 2] = np.maximum.reduceat(column + ends - starts, first_run)
    boxes[drawn, 3] = np.maximum.reduceat(row + 1, first_run)
    return boxes


def _runs(pixels: Bool[np.ndarray, "batch height width"]) -> tuple[Int[np.ndarray, "run"], Int[np.ndarray, "run"]]:
    batch, height, width = pixels.shape
    framed = np.zeros((batch, height + 1, width + 1), dtype=bool)
    framed[:, :height, 1:] = pixels
    line = framed.ravel()
    changes = np.flatnonzero(line[1:] != line[:-1]) + 1
    return changes[0::2], changes[1::2]


def _components(
    starts: Int[np.ndarray, "run"], ends: Int[np.ndarray, "run"], row_stride: int
) -> Int[np.ndarray, "run"]:
    """Return the component of each run, numbered in scan order of their first runs."""
    # The runs of the next row that touch a run, corners included, are neighbors in scan order.
    first_below = np.searchsorted(ends, starts + row_stride, side="left")
    after_below = np.searchsorted(starts, ends + row_stride, side="right")
    links = after_below - first_below
    row_pointer = np.concatenate([[0], np.cumsum(links)])
    linked = np.arange(row_pointer[-1]) + np.repeat(first_below - row_pointer[:-1], links)
    graph = csr_array((np.ones(len(linked), dtype=bool), linked, row_pointer), shape=(len(starts), len(starts)))
    component: Int[np.ndarray, "run"] = csgraph.connected_components(graph, directed=False)[1]
    return component


def _in_largest_component(
    component: Int[np.ndarray, "run"], length: Int[np.ndarray, "run"], image: Int[np.ndarray, "run"]
) -> Bool[np.ndarray, "run"]:
    size = np.bincount(component, weights=length)
    image_of_component = np.zeros(len(size), dtype=image.dtype)
    image_of_component[component] = image
    by_size = np.lexsort((np.arange(len(size)), -size, image_of_component))
    _, first_of_image = np.unique(image_of_component[by_size], return_index=True)
    is_largest = np.zeros(len(size), dtype=bool)
    is_largest[by_size[first_of_image]] = True
    in_largest: Bool[np.ndarray, "run"] = is_largest[component]
    return in_largest
