"""The bank in memory: what it refuses, what it finds, and how it is filtered."""

import numpy as np
import pytest
import torch
from tiny_encoder import tiny_encoder
from unchecked import loaded_without_shape_checks

from episodes import DigitScenes
from retrieval_explain import MemoryBank
from retrieval_explain.ranking.neighbors import scan

NAMES = ["gull", "tern", "gull", "auk"]
ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [-1.0, 0.0]])


def bank(**changed) -> MemoryBank:
    return MemoryBank.from_embeddings(ROWS, **({"labels": NAMES, "paths": [f"{i}.png" for i in range(4)]} | changed))


def test_neighbors_come_with_their_labels():
    found = bank().search(torch.tensor([1.0, 0.0]), k=3)
    assert found.indices.tolist() == [0, 2, 1]
    assert [bank().classes[label] for label in found.labels.tolist()] == ["gull", "gull", "tern"]
    assert found.similarities[0] == 1
    every = bank().search(ROWS)
    assert every.indices.shape == (4, 4)
    assert torch.equal(every[1].indices, every.indices[1])


def test_numbers_stay_the_numbers_they_are():
    found = bank(labels=[7, 9, 7, 40]).search(torch.tensor([[0.0, 1.0]]), k=1)
    assert found.labels.tolist() == [[9]]
    assert bank(labels=torch.tensor([7, 9, 7, 40])).search(ROWS[:1], 1, classes=[40]).indices.tolist() == [[3]]
    assert bank(labels=None).search(ROWS[:1], 1).labels.tolist() == [[-1]]


def test_filters_leave_rows_out():
    assert bank().search(ROWS[0], k=2, classes=["tern", "auk"]).indices.tolist() == [1, 3]
    assert bank().search(ROWS[0], k=2, without=torch.tensor([0])).indices.tolist() == [2, 1]
    assert bank().search(ROWS[0], classes=["gull"], without=torch.tensor([0])).indices.tolist() == [2]
    assert bank().search(ROWS[0], k=2, without=[0]).indices.tolist() == [2, 1]
    assert bank().search(ROWS[:1], k=2, leave_out=[0]).indices.tolist() == [[2, 1]]
    assert bank().search(ROWS[0], k=3, without=[]).indices.tolist() == [0, 2, 1]


def test_rows_to_leave_out_may_be_an_array_in_reverse():
    """As numpy.argsort(…)[::-1] is, which PyTorch does not take."""
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    backwards = np.arange(2)[::-1]
    assert filters.allowed_rows(None, 3, without=backwards).tolist() == [False, False, True]
    assert filters.own_rows(backwards, 2, None, 3).tolist() == [1, 0]


@pytest.mark.parametrize("rows", ["0", [0.5], [True], [None]])
def test_rows_left_out_are_whole_numbers(rows):
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    with pytest.raises(TypeError, match="expected without to be a tensor or a list of whole numbers, but got"):
        filters.allowed_rows(None, 3, without=rows)
    with pytest.raises(TypeError, match="expected leave_out to be a tensor or a list of whole numbers, but got"):
        filters.own_rows(rows, 1, None, 3)


@pytest.mark.parametrize("ids", ["0", [0.5], [True], [None], {"a"}, (number for number in [0])])
def test_ids_to_search_among_are_whole_numbers(ids):
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    with pytest.raises(TypeError, match="expected ids to be a tensor or a list of whole numbers, but got"):
        filters.allowed_rows(bank().entries, 4, ids=ids)


def test_a_set_chooses_rows_and_gives_no_row_to_each_query():
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    own = bank()
    chosen = set(own.ids[:2].tolist())
    assert filters.allowed_rows(own.entries, 4, ids=chosen).tolist() == [True, True, False, False]
    assert filters.allowed_rows(own.entries, 4, without={0, 1}).tolist() == [False, False, True, True]
    with pytest.raises(TypeError, match="expected leave_out to be a tensor or a list"):
        filters.own_rows({0, 1}, 2, None, 4)


@pytest.mark.parametrize("classes", [3, [None], [1.5], [True], (name for name in ["auk"])])
def test_classes_to_search_among_are_names_or_labels(classes):
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    with pytest.raises(TypeError, match="expected classes to be a list of names or labels, but got"):
        filters.allowed_rows(bank().entries, 4, classes=classes)


@pytest.mark.parametrize("numbers", [[0], (0,), np.array([0]), torch.tensor([0]), {0}])
def test_classes_may_be_labels_of_any_kind(numbers):
    filters = loaded_without_shape_checks("retrieval_explain.store.row_filter")
    own = bank()
    assert torch.equal(filters.allowed_rows(own.entries, 4, classes=numbers), own.labels == 0)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ({"k": 5}, "asked for 5 neighbors, but there are 4 embeddings to search among; lower k"),
        ({"k": 0}, "asked for 0 neighbors"),
        ({"k": 3, "classes": ["gull"]}, "asked for 3 neighbors, but there are 2 embeddings"),
        ({"classes": ["auk"], "without": torch.tensor([3])}, "there are 0 embeddings .* drop the filter"),
    ],
    ids=str,
)
def test_more_neighbors_than_there_are_is_an_error(question, sentence):
    with pytest.raises(ValueError, match=sentence):
        bank().search(ROWS[0], **question)


def test_unknown_classes_and_similarities_name_the_nearest():
    with pytest.raises(LookupError, match=r"unknown class 'gul'.*gull"):
        bank().search(ROWS[0], classes=["gul"])
    with pytest.raises(LookupError, match="no row has 3"):
        bank(labels=[1, 1, 2, 2]).search(ROWS[0], classes=[3])
    with pytest.raises(LookupError, match=r"unknown similarity 'cos'"):
        bank(similarity="cos")
    with pytest.raises(LookupError, match=r"unknown index 'hnws'.*hnsw"):
        bank().indexed("hnws")


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_rows_that_cannot_be_compared_are_named(value):
    rows = ROWS.clone()
    rows[2] = value
    with pytest.raises(
        ValueError, match=r"1 of 4 embeddings are zero or not finite, first 2\.png; they have no cosine"
    ):
        MemoryBank.from_embeddings(rows, paths=[f"{i}.png" for i in range(4)])
    with pytest.raises(ValueError, match="1 of 1 queries are zero or not finite, first row 0"):
        bank().search(rows[2])
    if value == 0:
        assert len(MemoryBank.from_embeddings(rows, similarity="euclidean")) == 4


def test_lists_of_another_length_and_empty_banks_are_refused():
    with pytest.raises(ValueError, match="one of the labels for each of 4 rows, but got 2"):
        bank(labels=["a", "b"])
    with pytest.raises(ValueError, match="one of the paths for each of 4 rows, but got 1"):
        bank(paths=["a.png"])
    with pytest.raises(ValueError, match=r"at least one image, but got shape \(0, 2\)"):
        MemoryBank.from_embeddings(ROWS[:0])
    with pytest.raises(ValueError, match="expected queries of 2 channels, but got 3"):
        bank().search(torch.ones(3))


def test_ids_stand_once_and_labels_are_of_one_kind():
    with pytest.raises(ValueError, match="1 of 4 are taken, first 3; give each image an id of its own"):
        bank(ids=[1, 3, 3, 2])
    with pytest.raises(ValueError, match="one of the ids for each of 4 rows, but got 2"):
        bank(ids=[1, 3])
    with pytest.raises(ValueError, match="labels that are all names or all numbers, but got names and 3"):
        bank(labels=["a", "b", 3, None])


def test_duplicates_come_in_the_order_of_their_rows():
    twins = MemoryBank.from_embeddings(torch.ones(30, 3))
    assert twins.search(torch.ones(3), k=12).indices.tolist() == list(range(12))


def test_an_index_finds_nearly_all_and_says_how_many():
    generator = torch.Generator().manual_seed(0)
    large = MemoryBank.from_embeddings(torch.randn(3000, 16, generator=generator), similarity="euclidean")
    quick = large.indexed("ivf", k=50)
    queries = torch.randn(5, 16, generator=generator)
    exact, found = large.search(queries, 50), quick.search(queries, 50)
    assert quick.verified.recall >= 0.95
    shared = [len(np.intersect1d(a, b)) for a, b in zip(exact.indices, found.indices, strict=True)]
    assert np.mean(shared) >= 45
    filtered = quick.search(queries, 50, without=torch.arange(10))
    allowed = torch.arange(3000) >= 10
    assert torch.equal(filtered.indices, scan(queries, large.rows, "euclidean", 50, allowed).indices)


def test_a_bank_is_built_of_a_data_set():
    scenes, encoder, told = DigitScenes(part="novel", per_class=2, size=32), tiny_encoder(), []
    built = MemoryBank.build(encoder, scenes, batch_size=3, report=lambda *parts: told.append(parts))
    assert sum(done for _, done, _ in told) == len(scenes) == len(built)
    assert {(stage, total) for stage, _, total in told} == {("embed", len(scenes))}
    expected = encoder(encoder.preprocess([scenes[4].image])).embedding.float()
    torch.testing.assert_close(built.rows.take(torch.tensor([4])), expected)
    assert built.classes[built.labels[4]] == scenes.classes[int(scenes.labels[4])]
    assert built.search(expected, 1).indices.tolist() == [[4]]
    assert built.encoder.startswith(f"{encoder.description} #")


@pytest.mark.parametrize(
    "labels",
    [NAMES, [7, 9, 7, 40], None, ["tern", None, "auk", "tern"], [3, None, -1, 0]],
    ids=["names", "numbers", "none", "some names", "some numbers"],
)
@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
def test_a_stored_bank_is_the_same_bank(tmp_path, labels, similarity):
    kept = bank(labels=labels, similarity=similarity, encoder="tiny (seed 0)", ids=[5, 3, 90, 1])
    kept.save(tmp_path / "bank")
    loaded = MemoryBank.load(tmp_path / "bank")
    assert (loaded.classes, tuple(loaded.paths), loaded.similarity) == (kept.classes, kept.paths, kept.similarity)
    assert loaded.encoder == "tiny (seed 0)"
    assert torch.equal(loaded.labels, kept.labels)
    assert loaded.ids.tolist() == [5, 3, 90, 1]
    queries = torch.tensor([[0.3, 0.7], [-1.0, 0.2]])
    ours, theirs = kept.search(queries), loaded.search(queries)
    assert torch.equal(ours.indices, theirs.indices)
    assert torch.equal(ours.similarities, theirs.similarities)
    bank(labels=["x"] * 4).save(tmp_path / "bank")
    assert MemoryBank.load(tmp_path / "bank").classes == ("x",)
    assert torch.equal(loaded.search(queries).indices, ours.indices)


def test_the_index_of_a_stored_bank_is_kept_beside_it(tmp_path):
    rows = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    MemoryBank.from_embeddings(rows, labels=list("abcde") * 100).save(tmp_path / "bank")
    bank = MemoryBank.load(tmp_path / "bank").indexed("hnsw", k=10)
    assert list((tmp_path / "bank").rglob("*.faiss"))
    again = MemoryBank.load(tmp_path / "bank").indexed("hnsw", k=10)
    assert (again.verified.recall, again.verified.k) == (bank.verified.recall, 10)
    assert torch.equal(again.search(rows[:5], 10).indices, bank.search(rows[:5], 10).indices)
    assert again.classes == tuple("abcde")


def test_a_damaged_block_is_never_searched(tmp_path):
    bank().save(tmp_path / "bank")
    (file,) = (tmp_path / "bank").glob("version-*/embeddings.safetensors")
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    loaded = MemoryBank.load(tmp_path / "bank")
    with pytest.raises(ValueError, match=r"embeddings\.safetensors"):
        loaded.search(ROWS[0])
    with pytest.raises(FileNotFoundError, match="bank"):
        MemoryBank.load(tmp_path / "elsewhere")
