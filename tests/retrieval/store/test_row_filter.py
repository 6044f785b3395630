"""Searches among some rows: by class, by id, without some rows, and without the query itself."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval_explain import MemoryBank

ROWS = torch.from_numpy(np.random.default_rng(3).integers(-2, 3, size=(12, 3)).astype(np.float32)) + 0.25
LABELS = list("abcabcaabbcc")
IDS = [100 - 7 * row for row in range(12)]
BANK = MemoryBank.from_embeddings(ROWS, labels=LABELS, ids=IDS, similarity="euclidean")


def by_hand(query, allowed, own, k):
    """Rows by distance, then by number, in plain Python."""
    rows = [row for row in range(12) if row in allowed and row != own]
    distance = {row: sum((a - b) ** 2 for a, b in zip(query, ROWS[row].tolist(), strict=True)) for row in rows}
    return sorted(rows, key=lambda row: (distance[row], row))[:k]


@given(
    classes=st.none() | st.sets(st.sampled_from("abc"), min_size=1),
    ids=st.none() | st.sets(st.sampled_from(IDS), min_size=6),
    without=st.none() | st.sets(st.integers(0, 11), max_size=3),
    own=st.none() | st.lists(st.integers(-1, 11), min_size=4, max_size=4),
    k=st.integers(1, 6),
)
@example(classes=None, ids=None, without={0, 5, 7}, own=None, k=6)
def test_filters_agree_with_a_search_by_hand(classes, ids, without, own, k):
    allowed = {
        row
        for row in range(12)
        if (classes is None or LABELS[row] in classes)
        and (ids is None or IDS[row] in ids)
        and (without is None or row not in without)
    }
    queries = ROWS[[0, 5, 7, 11]]
    question = {
        "classes": None if classes is None else sorted(classes),
        "ids": None if ids is None else sorted(ids),
        "without": None if without is None else torch.tensor(sorted(without), dtype=torch.int64),
        "leave_out": None if own is None else torch.tensor(own),
    }
    left = len(allowed) - (own is not None and any(row in allowed for row in own))
    if k > left:
        with pytest.raises(ValueError, match=f"asked for {k} neighbors, but there are {left} embeddings"):
            BANK.search(queries, k, **question)
        return
    found = BANK.search(queries, k, **question)
    for place, query in enumerate(queries.tolist()):
        assert found.indices[place].tolist() == by_hand(query, allowed, None if own is None else own[place], k)
    assert torch.equal(found.labels, BANK.labels[found.indices])


def test_the_query_itself_is_left_out_of_its_own_result_only():
    twins = MemoryBank.from_embeddings(torch.ones(6, 2))
    found = twins.search(torch.ones(2, 3, 2), leave_out=torch.tensor([[0, 1, 2], [3, -1, 5]]))
    assert found.indices.shape == (2, 3, 5)
    assert found.indices[0, 1].tolist() == [0, 2, 3, 4, 5]
    assert found.indices[1, 1].tolist() == [0, 1, 2, 3, 4]
    one = twins.search(torch.ones(2), 2, leave_out=torch.tensor(0))
    assert one.indices.tolist() == [1, 2]


def test_leaving_out_needs_one_row_more_of_an_index_too():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 8, generator=generator)
    bank = MemoryBank.from_embeddings(rows)
    chosen = torch.arange(0, 200, 10)
    exact = bank.search(rows[chosen], 20, leave_out=chosen)
    quick = bank.indexed("hnsw", k=20, recall=0.99).search(rows[chosen], 20, leave_out=chosen)
    assert not (exact.indices == chosen[:, None]).any()
    assert not (quick.indices == chosen[:, None]).any()
    assert (exact.indices == quick.indices).double().mean() > 0.9


@pytest.mark.parametrize(
    ("question", "kind", "sentence"),
    [
        ({"ids": [100, 5]}, LookupError, "ids of images of the bank, but none has 5"),
        ({"classes": ["aa"]}, LookupError, "unknown class 'aa'"),
        ({"without": torch.tensor([-1])}, ValueError, "rows to leave out from 0 to 11, but got -1"),
        ({"without": torch.tensor([[3, 12]])}, ValueError, "rows to leave out from 0 to 11, but got 12"),
        ({"leave_out": torch.tensor([12, 0])}, ValueError, "rows to leave out from -1 to 11, but got 12"),
        ({"ids": [], "k": 1}, ValueError, "asked for 1 neighbors, but there are 0 embeddings .* drop the filter"),
        ({"k": 12, "leave_out": torch.tensor([1, -1])}, ValueError, "there are 11 embeddings"),
    ],
    ids=str,
)
def test_what_is_not_there_is_an_error(question, kind, sentence):
    with pytest.raises(kind, match=sentence):
        BANK.search(ROWS[:2], **question)


def test_one_row_to_leave_out_for_each_query():
    from retrieval_explain.store.row_filter import own_rows

    with pytest.raises(ValueError, match="one row to leave out for each of 2 queries, but got 3; give -1 for none"):
        own_rows(torch.tensor([1, 2, 3]), 2, None, 12)
