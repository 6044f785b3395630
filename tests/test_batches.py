"""Things are read batch by batch in order, the next batch while one is worked on, and errors come where they belong."""

import threading

import pytest

from fsl_explain.batches import read_ahead


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("count", "size"), [(0, 2), (1, 2), (4, 2), (5, 2), (5, 9)])
def test_all_is_read_once_and_in_order(count, size, threads):
    read = []
    batches = [list(batch) for batch in read_ahead(lambda one: read.append(one) or one, range(count), size, threads)]
    assert [one for batch in batches for one in batch] == list(range(count)) == sorted(read)
    assert all(len(batch) == size for batch in batches[:-1])


def test_the_next_batch_is_read_while_one_is_worked_on():
    is_read = [threading.Event() for _ in range(6)]
    batches = read_ahead(lambda one: is_read[one].set(), range(6), 2, 1)
    list(next(batches))
    assert is_read[2].wait(10)
    assert is_read[3].wait(10), "reading waits for the work"
    assert not is_read[4].is_set(), "more than one batch waits in memory"
    batches.close()


def test_an_error_is_raised_where_its_thing_is_taken():
    def read(one):
        if one == 3:
            raise ValueError("three")
        return one

    batches = read_ahead(read, range(6), 2, 2)
    assert list(next(batches)) == [0, 1]
    with pytest.raises(ValueError, match="three"):
        list(next(batches))


def test_batches_of_nothing_are_refused():
    with pytest.raises(ValueError, match="expected a batch size of at least 1, but got 0"):
        next(read_ahead(str, range(3), 0, 1))
