"""The keys of pixels are in ascending order of value and membership, in single and double precision."""

import numpy as np
import pytest
import torch

from fsl_explain.metrics import pixel_ranking
from fsl_explain.metrics.pixel_ranking import SORTS, inside_up_to, members_of, quicker_sort, ranking_keys, values_of


def maps(kind, dtype):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 40, 41, generator=generator, dtype=torch.float64)
    if kind == "tied":
        values = values.mul(3).round()
    if kind == "of all sizes":
        values = values.sign() * 10 ** (9 * values)
    return values.to(dtype), torch.rand(3, 40, 41, generator=generator) < 0.3


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["all different", "tied", "of all sizes"])
def test_keys_are_pairs_of_value_and_membership_in_order(kind, dtype, sort, monkeypatch):
    monkeypatch.setattr(pixel_ranking, "quicker_sort", lambda: sort)
    saliency, mask = maps(kind, dtype)
    before = saliency.clone()
    keys = ranking_keys(saliency, mask)
    for number, (row, inside) in enumerate(zip(saliency, mask, strict=True)):
        positive = [max(value, 0.0) for value in row.flatten().tolist()]
        expected = sorted(zip(positive, inside.flatten().tolist(), strict=True))
        assert values_of(keys)[number].tolist() == [value for value, _ in expected]
        assert members_of(keys)[number].tolist() == [int(member) for _, member in expected]
        assert int(inside_up_to(keys)[number, -1]) == int(inside.sum())
    assert torch.equal(saliency, before), "the map itself was changed"


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("pixels", [0, 1, 2, 1000, 70_000])
def test_every_sort_puts_whole_numbers_of_either_sign_in_order(pixels, sort):
    row = np.random.default_rng(0).integers(-(2**31), 2**31, pixels, dtype=np.int32)
    row[: pixels // 3] = row[-(pixels // 3) :] if pixels > 2 else row[: pixels // 3]
    expected = sorted(row.tolist())
    sort(row)
    assert row.tolist() == expected


@pytest.mark.parametrize("quick", SORTS)
def test_the_sort_that_took_less_time_here_is_taken(quick, monkeypatch):
    tried = []

    def seconds(sort, row):
        assert len(row) == pixel_ranking.TRIED_PIXELS
        assert (np.diff(row) < 0).any(), "it was in order already"
        tried.append(sort)
        return (1.0 if sort is quick else 2.0) + len(tried)  # the machine is slow from the second trial on

    monkeypatch.setattr(pixel_ranking, "_seconds", seconds)
    monkeypatch.setattr(pixel_ranking, "SORTS", SORTS[::-1] if SORTS[0] is not quick else SORTS)
    assert quicker_sort.__wrapped__() is quick
    assert sorted(tried, key=SORTS.index) == [sort for sort in SORTS for _ in range(pixel_ranking.TRIALS)]
