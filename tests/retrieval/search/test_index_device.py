"""Which searches go to a graphics processor, seen with a stand-in for FAISS's functions of it."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from retrieval_explain.ranking.neighbors import RowsInMemory
from retrieval_explain.search import index as searched
from retrieval_explain.search.exact_search import exact_search
from retrieval_explain.search.index import build_index, flat, placed, search, widened

pytest_plugins = ["faiss_with_tensors"]

ROWS = RowsInMemory(torch.randn(400, 8, generator=torch.Generator().manual_seed(0)))
QUERIES = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))


class CopyOnGpu:
    """Searches as the index it was made from, and counts."""

    def __init__(self, original):
        self.original, self.searches = original, 0

    def search(self, queries, k, params):
        self.searches += 1
        return getattr(self.original, "search_numpy", self.original.search)(queries, k, params=params)


@pytest.fixture
def one_gpu(monkeypatch):
    """A FAISS that finds a graphics processor; ``placing`` notes the options of each copy."""
    real, placing = searched.faiss, []

    def to_gpu(resources, number, original, options):
        placing.append((number, options.useFloat16))
        return CopyOnGpu(original)

    stand_in = SimpleNamespace(
        **{name: getattr(real, name) for name in dir(real) if not name.startswith("__")}
        | {
            "get_num_gpus": lambda: 1,
            "StandardGpuResources": SimpleNamespace,
            "GpuClonerOptions": lambda: SimpleNamespace(useFloat16=False),
            "index_cpu_to_gpu": to_gpu,
        }
    )
    monkeypatch.setattr(searched, "faiss", stand_in)
    return SimpleNamespace(placing=placing, faiss=stand_in)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(searched.faiss, "get_num_gpus", lambda: 0)


@pytest.mark.parametrize(("kind", "half"), [("ivf", False), ("ivf-pq", True)])
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_lists_are_searched_on_the_gpu_with_the_same_result(kind, half, device, one_gpu):
    index = build_index(ROWS, "cosine", kind, 10)
    moved = placed(index, device)
    found, expected = search(moved, ROWS, QUERIES, 10), search(index, ROWS, QUERIES, 10)
    assert torch.equal(found.indices, expected.indices)
    assert (moved.device, moved.on_gpu.searches, one_gpu.placing) == ("cuda", 1, [(0, half)])
    assert placed(moved, "cpu").on_gpu is None
    moved.settings["probed"] = 1
    assert widened(moved).on_gpu is moved.on_gpu


@pytest.mark.parametrize("wide", ["k", "probed"])
def test_searches_too_wide_for_the_gpu_stay_on_the_processor(wide, one_gpu, monkeypatch):
    monkeypatch.setattr(searched, "WIDEST_ON_GPU", 30)
    moved = placed(build_index(ROWS, "cosine", "ivf", 10), "cuda")
    moved.settings["probed"] = 31 if wide == "probed" else 10
    search(moved, ROWS, QUERIES, 20 if wide == "k" else 10)
    assert not moved.on_gpu.searches
    moved.settings["probed"] = 10
    search(moved, ROWS, QUERIES, 10)
    assert moved.on_gpu.searches == 1


def test_the_exact_search_moves_and_the_graph_stays(one_gpu):
    assert placed(flat("cosine"), "cuda").device == "cuda"
    graph = placed(build_index(ROWS, "cosine", "hnsw", 10), "cuda")
    assert (graph.device, graph.on_gpu) == ("cpu", None)


def test_an_index_without_kernels_stays_or_is_refused(one_gpu):
    def refuses(*_):
        raise RuntimeError("code size not supported")

    one_gpu.faiss.index_cpu_to_gpu = refuses
    index = build_index(ROWS, "cosine", "ivf-pq", 10)
    assert placed(index, "auto").device == "cpu"
    with pytest.raises(ValueError, match="cannot place this ivf-pq index on the graphics processor; use device cpu"):
        placed(index, "cuda")


def test_without_a_gpu_auto_is_the_processor_and_cuda_is_refused(no_gpu):
    assert placed(flat("cosine")).device == "cpu"
    assert placed(flat("cosine"), "cpu").device == "cpu"
    with pytest.raises(ValueError, match="expected a graphics processor for the index, but FAISS finds none"):
        placed(flat("cosine"), "cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(LookupError, match="unknown device 'gpu'"):
        placed(flat("cosine"), "gpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf-pq"])
def test_a_search_with_options_survives_the_methods_that_take_tensors(kind, device, one_gpu, methods_that_take_tensors):
    index = build_index(ROWS, "cosine", kind, 10)
    assert hasattr(index.faiss_index, "search_numpy")
    found = search(placed(index, device), ROWS, QUERIES, 10)
    recalled = np.isin(found.indices.numpy(), exact_search(ROWS, QUERIES, "cosine", 10).indices.numpy())
    assert recalled.mean() > 0.9


def test_the_methods_that_take_tensors_are_gone_afterwards():
    """Unless a library that another test needs has brought them."""
    kinds = [kind for kind in vars(searched.typed_faiss).values() if isinstance(kind, type)]
    brought = any(hasattr(kind, "search_numpy") for kind in kinds)
    assert brought == ("faiss.contrib.torch_utils" in sys.modules)
