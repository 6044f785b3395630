"""What is read off a table of correspondences, on tables written by hand and on supports of another size."""

import pytest
import torch
from tiny_encoder import images, random_head, tiny_encoder

from fsl_explain import correspondence, explain
from fsl_explain.explainers.analysis.correspondence import Correspondence, Match


def written(table, shape, support_shape):
    return Correspondence(table.double(), shape, support_shape, "a", 0, 1.0, float(table.sum()))


def four_by_four(**blocks):
    """A table of 4 × 4 cells each; a block gives query corner, support corner and the amount of each of its pairs."""
    pairs = torch.zeros(4, 4, 4, 4)
    for (a, b), (c, d), amount in blocks.values():
        pairs[a : a + 2, b : b + 2, c : c + 2, d : d + 2] = amount
    table = torch.zeros(17, 17)
    table[:16, :16] = pairs.reshape(16, 16)
    return written(table, (4, 4), (4, 4))


def test_cells_hold_the_pairs_and_the_bias_of_the_other_side():
    table = torch.arange(7.0 * 13).reshape(7, 13).square()
    split = written(table, (2, 3), (3, 4))
    rows, columns = split.cells
    for i in range(2):
        for j in range(3):
            assert float(rows[i, j]) == sum(table[3 * i + j].tolist())
    for i in range(3):
        for j in range(4):
            assert float(columns[i, j]) == sum(table[:, 4 * i + j].tolist())
            assert float(split.pairs[1, 2, i, j]) == float(table[5, 4 * i + j])


def test_folded_spreads_each_bias_over_the_cells_it_belongs_to():
    table = torch.randn(7, 13, generator=torch.Generator().manual_seed(0)).double()
    folded = written(table, (2, 3), (3, 4)).folded.reshape(6, 12)
    for p in range(6):
        for r in range(12):
            expected = table[p, r] + table[p, 12] / 12 + table[6, r] / 6 + table[6, 12] / 72
            torch.testing.assert_close(folded[p, r], expected)
    torch.testing.assert_close(folded.sum(), table.sum())


def test_a_negative_pair_is_strong_and_the_first_of_ties_comes_first():
    table = torch.zeros(5, 5)
    table[1, 2], table[3, 0], table[0, 3], table[4, 4] = -5.0, 2.0, 2.0, 90.0
    assert written(table, (2, 2), (2, 2)).strongest(3) == (
        Match((0, 1), (1, 0), -5.0),
        Match((0, 0), (1, 1), 2.0),
        Match((1, 1), (0, 0), 2.0),
    )


def test_a_negative_region_is_strong_and_regions_may_touch():
    split = four_by_four(against=((0, 0), (0, 0), -1.0), beside=((0, 2), (2, 0), 0.5))
    assert split.strongest_regions(2) == (Match((0, 0), (0, 0), -16.0), Match((0, 2), (2, 0), 8.0))


@pytest.mark.parametrize("place", [((0, 1), (2, 2)), ((2, 2), (1, 0))], ids=["query", "support"])
def test_regions_overlap_on_neither_image(place):
    """The second block shares cells with the first on one image."""
    first, second = four_by_four(first=((0, 0), (0, 0), 4.0), second=(*place, 3.0)).strongest_regions(2)
    assert (first.query, first.support) == ((0, 0), (0, 0))
    for one, other in ((first.query, second.query), (first.support, second.support)):
        assert max(abs(one[0] - other[0]), abs(one[1] - other[1])) >= 2


def test_the_cells_of_all_supports_are_those_of_the_explanation():
    supports = torch.randn(2, 2, 3, 10, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = explain(
        tiny_encoder(random_head("linear")), images(seed=1), supports, method="contrast", similarity="euclidean"
    )
    every = [correspondence(found, label=label, shot=shot) for label in range(2) for shot in range(2)]
    torch.testing.assert_close(sum(split.cells[0] for split in every), found.cells)
    for split, cells in zip(every, found.support_cells.flatten(0, 1), strict=True):
        assert (split.shape, split.support_shape) == ((3, 4), (5, 2))
        torch.testing.assert_close(split.cells[1], cells)


def test_the_strongest_support_of_a_rival_speaks_loudest_against():
    supports = {"a": images(3, seed=23), "b": images(3, seed=24)}
    found = explain(tiny_encoder(), images(seed=10), supports, method="contrast", similarity="euclidean")
    addends = found.support_weights * found.similarities
    for label in range(2):
        assert correspondence(found, label=label).shot == int(addends[label].abs().argmax())
    decided = found.decision.label
    assert (addends[decided] < 0).all(), "the example has to have a class all of whose addends are negative"
