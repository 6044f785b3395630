"""A bank that is asked one query at a time reads a copy of half the bits, and finds what it found before."""

import gc
import threading

import numpy as np
import pytest
import torch

from episodes.errors import Mistake
from fsl_explain.similarities import SIMILARITIES, named_similarity
from retrieval_explain.ranking.neighbors import RowsInMemory, scan
from retrieval_explain.search import coarse_rows as module
from retrieval_explain.search.coarse_rows import coarse_rows
from retrieval_explain.search.exact_search import exact_search

pytest_plugins = ["faiss_with_tensors"]

NAMES = [*SIMILARITIES, "cosine@4,6", "euclidean@4,6"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Copies of few rows, made before the first query."""
    monkeypatch.setattr(module, "FEWEST_VALUES", 1)
    monkeypatch.setattr(module, "ASKED_BEFORE", 0)


@pytest.fixture(params=[1, 3], ids=["one thread", "three"])
def threads(request, monkeypatch):
    monkeypatch.setattr(module, "VALUES_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


class Untold:
    """The cosine, without a word of what it is."""

    def __getattr__(self, name):
        if name == "traits":
            raise AttributeError(name)
        return getattr(named_similarity("cosine"), name)


def crowded(rows, channels=10, seed=0, noise=0.02, centers=5):
    """Rows in a few crowds so dense that bfloat16 mistakes their order; some stand twice."""
    generator = torch.Generator().manual_seed(seed)
    crowds = torch.randn(centers, channels, generator=generator)
    made = crowds[torch.randint(0, centers, (rows,), generator=generator)]
    made = made + noise * torch.randn(rows, channels, generator=generator)
    made[: rows // 7] = made[rows - rows // 7 :]
    return made


def copy_of(rows):
    return module._KNOWN[rows].coarse


def equal(found, expected):
    return torch.equal(found.indices, expected.indices) and torch.equal(found.similarities, expected.similarities)


def without_copy(held, query, name, k, allowed=None):
    """What a search of two queries at a time says of one."""
    return exact_search(held, query.expand(2, -1), name, k, allowed)[:1]


@pytest.mark.parametrize("noise", [1.0, 0.02, 1e-4])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_found_is_what_the_search_of_all_rows_finds(name, some, noise, threads, monkeypatch):
    rows, queries = crowded(900, noise=noise), crowded(12, noise=noise, seed=1)
    allowed = torch.rand(900, generator=torch.Generator().manual_seed(3)) < 0.6 if some else None
    held = RowsInMemory(rows)
    expected = exact_search(held, queries, name, 20, allowed)
    slow = scan(queries, held, name, 20, allowed)
    assert torch.equal(expected.indices, slow.indices) or "@" in name
    for number, query in enumerate(queries):
        found = exact_search(held, query[None], name, 20, allowed)
        assert equal(found, type(found)(expected.indices[number][None], expected.similarities[number][None]))
    assert module._KNOWN[held].times == 12


@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("name", ["cosine", "euclidean"])
def test_it_survives_the_methods_that_take_tensors(name, some, threads, methods_that_take_tensors):
    held, query = RowsInMemory(crowded(900)), crowded(1, seed=1)
    allowed = torch.arange(900) % 3 > 0 if some else None
    assert equal(exact_search(held, query, name, 20, allowed), without_copy(held, query, name, 20, allowed))
    assert hasattr(copy_of(held).parts[0][2], "search_numpy")
    assert module._KNOWN[held].in_vain == 0


@pytest.mark.parametrize("name", NAMES)
def test_most_queries_are_answered_by_the_copy(name, threads, monkeypatch):
    held, queries, read = RowsInMemory(crowded(900, noise=1.0)), crowded(12, noise=1.0, seed=1), []
    monkeypatch.setattr(RowsInMemory, "read", lambda rows, *span: read.append(span) or rows.embeddings[slice(*span)])
    exact_search(held, queries[:1], name, 20)
    assert sum(stop - start for start, stop in read) == 900 + 1  # each row once, and one to see how wide they are
    for query in queries:
        exact_search(held, query[None], name, 20)
    assert sum(stop - start for start, stop in read) == 901


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [10, 16, 40])
def test_the_copy_is_bfloat16_and_says_truly_by_how_much_it_is_off(name, channels, threads):
    rows = crowded(300, channels=max(channels, 10), noise=1.0)
    if "@" in name:
        rows = rows[:, :10]
    held, similarity = RowsInMemory(rows), named_similarity(name)
    made = coarse_rows(held, similarity)
    exact = similarity.traits.transform(rows.double())
    told = torch.cat([torch.as_tensor(index.reconstruct_n(0, stop - start)) for start, stop, index in made.parts])
    assert torch.equal(told[:, : exact.shape[1]], exact.bfloat16().float())
    assert not told[:, exact.shape[1] :].any()
    assert made.off == pytest.approx(float((exact - exact.bfloat16().double()).norm(dim=1).max()))
    assert made.longest == pytest.approx(float(exact.bfloat16().double().norm(dim=1).max()))
    assert [start for start, _, _ in made.parts] == [0, *(stop for _, stop, _ in made.parts[:-1])]


@pytest.mark.parametrize("name", NAMES)
def test_no_similarity_is_off_by_more_than_is_said(name):
    rows, queries = crowded(500, noise=0.5), crowded(30, noise=0.5, seed=2)
    similarity = named_similarity(name)
    made = coarse_rows(RowsInMemory(rows), similarity)
    true = similarity.pairwise(queries.double(), rows.double())
    if made.by_distance:
        true = -(-true).clamp(min=0).sqrt()
    for number, query in enumerate(queries):
        found, values, error = made.best(similarity.traits.transform(query.double()), 500, None)
        assert sorted(found.tolist()) == list(range(500))
        off = (values - true[number, found]).abs()
        assert float(off.max()) <= error
        assert float(off.max()) > error / 50  # and it is no idle promise


def test_rows_that_are_all_alike_are_compared_one_by_one_and_the_copy_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "MOST_SPARE", 40)
    rows = torch.ones(400, 10) + 1e-6 * torch.randn(400, 10, generator=torch.Generator().manual_seed(0))
    held = RowsInMemory(rows)
    for _ in range(3):
        query = torch.randn(1, 10, generator=torch.Generator().manual_seed(1))
        assert equal(exact_search(held, query, "cosine", 5), without_copy(held, query, "cosine", 5))
    assert copy_of(held) is None
    assert module._KNOWN[held].is_useless


def test_a_crowd_at_the_last_place_is_asked_for_more(monkeypatch):
    rows = torch.randn(3000, 10, generator=torch.Generator().manual_seed(0))
    rows[500:1200] = rows[500]
    held = RowsInMemory(rows)
    found = exact_search(held, rows[500][None], "cosine", 20)
    assert found.indices[0].tolist() == list(range(500, 520))
    assert copy_of(held) is not None
    assert module._KNOWN[held].spare == module.MOST_SPARE_AT_FIRST


@pytest.mark.parametrize("scale", [1e-30, *np.logspace(-20.5, -18, 6), 1e12, 1e17])
@pytest.mark.parametrize("name", ["inner-product", "euclidean"])
def test_numbers_of_any_size(name, scale):
    rows, queries = scale * crowded(300, noise=1.0), scale * crowded(5, noise=1.0, seed=1)
    held = RowsInMemory(rows)
    expected = scan(queries, held, name, 7)
    for number, query in enumerate(queries):
        assert torch.equal(exact_search(held, query[None], name, 7).indices[0], expected.indices[number])


def test_numbers_beyond_its_range_have_no_copy():
    rows = crowded(300, noise=1.0)
    assert coarse_rows(RowsInMemory(1e19 * rows), named_similarity("inner-product")) is None
    rows[5, 3] = torch.nan
    assert coarse_rows(RowsInMemory(rows), named_similarity("cosine")) is None


def test_one_query_too_large_is_compared_with_all_rows():
    held, query = RowsInMemory(1e17 * crowded(300, noise=1.0)), crowded(1, noise=1.0, seed=1)
    expected = exact_search(held, query, "inner-product", 7)
    assert torch.equal(exact_search(held, 1e25 * query, "inner-product", 7).indices, expected.indices)
    assert module._KNOWN[held].in_vain == 0  # the copy was not asked, which would say inf - inf


def misread(name, tiny=2.0**-14, coarse=2.0**-8):
    """Return a query, the row that is nearest, and one that the copy takes for nearer, by almost twice its error."""
    low, high = 1 + coarse - tiny, 1 + coarse + tiny  # bfloat16 reads 1 and 1 + 2 coarse
    if name == "inner-product":
        return torch.tensor([[1.0, 1.0, 1.0]]), torch.tensor([low, low, 8 * tiny]), torch.tensor([high, high, 0.0])
    return torch.tensor([[3.0, 3.0, 0.0]]), torch.tensor([low, low, 0.0]), torch.tensor([high, high, 2.0**-4])


@pytest.mark.parametrize("others", [1, 30, 200])
@pytest.mark.parametrize("name", ["inner-product", "euclidean"])
def test_the_nearest_row_is_found_where_the_copy_errs_as_much_as_it_can(name, others, threads):
    query, best, other = misread(name)
    rows = torch.cat([torch.zeros(300, 3), other.expand(others, 3), best[None], torch.zeros(300, 3)])
    held = RowsInMemory(rows)
    found, values, error = coarse_rows(held, named_similarity(name)).best(query[0].double(), others + 1, None)
    told = dict(zip(found.tolist(), values.tolist(), strict=True))
    assert told[300] - told[300 + others] > 1.3 * error
    assert exact_search(held, query, name, 1).indices.tolist() == [[300 + others]]


@pytest.mark.parametrize("name", ["inner-product", "euclidean"])
def test_ties_that_float32_tells_apart_stay_ties(name):
    """Rows that bfloat16 holds wholly, and sums that depend on their order in float32, and not in float64."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(512, generator=generator).bfloat16().float()
    row = row * 2.0 ** torch.randint(-6, 7, (512,), generator=generator)
    rows = torch.stack([row[torch.randperm(512, generator=generator)] for _ in range(300)])
    held, query = RowsInMemory(rows), torch.ones(1, 512)
    made = coarse_rows(held, named_similarity(name))
    assert made.off == 0
    assert len(set(made.best(query[0].double(), 300, None)[1].tolist())) > 1
    assert exact_search(held, query, name, 5).indices.tolist() == [[0, 1, 2, 3, 4]]


def test_a_similarity_of_no_vectors_has_no_copy():
    held, query = RowsInMemory(crowded(50)), crowded(1, seed=1)
    assert coarse_rows(held, Untold()) is None
    expected = exact_search(held, query, "cosine", 3).indices
    assert torch.equal(exact_search(held, query, Untold(), 3).indices, expected)
    assert copy_of(held) is None
    assert module._KNOWN[held].is_useless


def test_it_is_made_after_so_many_single_queries_and_goes_with_the_rows(monkeypatch):
    monkeypatch.setattr(module, "ASKED_BEFORE", 3)
    held, queries = RowsInMemory(crowded(300)), crowded(4, seed=1)
    for query in queries[:3]:
        exact_search(held, query[None], "cosine", 5)
        exact_search(held, queries, "cosine", 5)  # several at a time do not count
        assert copy_of(held) is None
    exact_search(held, queries[3:], "cosine", 5)
    assert copy_of(held) is not None
    exact_search(held, queries[3:], "euclidean", 5)  # of one similarity at a time
    assert copy_of(held) is None
    assert held in module._KNOWN
    del held
    gc.collect()
    assert not module._KNOWN


def test_few_rows_and_too_many_have_none(monkeypatch):
    held, query = RowsInMemory(crowded(300)), crowded(1, seed=1)
    monkeypatch.setattr(module, "FEWEST_VALUES", 3001)
    exact_search(held, query, "cosine", 5)
    assert held not in module._KNOWN
    monkeypatch.setattr(module, "FEWEST_VALUES", 2500)
    exact_search(held, query, "cosine", 5, torch.arange(300) < 249)  # nor for few rows of many
    assert held not in module._KNOWN
    exact_search(held, query, "cosine", 5, torch.arange(300) < 250)
    assert copy_of(held) is not None
    held = RowsInMemory(crowded(300))
    monkeypatch.setattr(module, "FEWEST_VALUES", 1)
    monkeypatch.setattr(module, "LARGEST_COPY", 2 * 300 * 16 - 1)
    assert coarse_rows(held, named_similarity("cosine")) is None
    exact_search(held, query, "cosine", 5)
    monkeypatch.setattr(module, "LARGEST_COPY", 2 * 300 * 10 - 1)
    other = RowsInMemory(crowded(300))
    exact_search(other, query, "cosine", 5)
    assert other not in module._KNOWN


def test_several_threads_ask_while_the_copy_is_made(monkeypatch):
    held, queries = RowsInMemory(crowded(900, noise=1.0)), crowded(8, noise=1.0, seed=1)
    expected, found = exact_search(held, queries, "cosine", 9), {}
    others_are_done, answered = threading.Event(), threading.Semaphore(0)
    real, made = module.coarse_rows, []

    def slow(*given):
        made.append(given)
        assert others_are_done.wait(60)
        return real(*given)

    monkeypatch.setattr(module, "coarse_rows", slow)

    def ask(number):
        found[number] = exact_search(held, queries[number][None], "cosine", 9)
        answered.release()

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in asking:
        thread.start()
    for _ in range(7):
        assert answered.acquire(timeout=60)
    others_are_done.set()
    for thread in asking:
        thread.join()
    assert len(made) == 1
    assert all(np.array_equal(found[number].indices[0], expected.indices[number]) for number in range(8))


def test_k_of_all_rows_and_more_than_are_allowed():
    held, query = RowsInMemory(crowded(60, noise=1.0)), crowded(1, seed=1)
    allowed = torch.arange(60) < 9
    for some, k in ((None, 60), (allowed, 9), (allowed, 1)):
        assert equal(exact_search(held, query, "cosine", k, some), without_copy(held, query, "cosine", k, some))
    assert module._KNOWN[held].in_vain == 0
    with pytest.raises(Mistake, match="expected k from 1 to 9"):
        exact_search(held, query, "cosine", 10, allowed)
