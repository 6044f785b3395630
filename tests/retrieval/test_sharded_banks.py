"""Several banks searched as one give the neighbors of one bank of the same rows, in the same order."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from episodes.errors import Mistake
from fsl_explain.engine import EngineOptions
from fsl_explain.similarities import SIMILARITIES
from retrieval_explain import MemoryBank, load_shards
from retrieval_explain.audit.label_audit import audit
from retrieval_explain.store.changes import append

NAMED = [name for name in SIMILARITIES if name != "relation"]
CUTS = (0, 7, 8, 19, 30)


def rows(seed=0, count=30, channels=5):
    """Rows of small whole numbers, many of which are alike, so that similarities are tied."""
    values = np.random.default_rng(seed).integers(-1, 2, (count, channels)).astype(np.float32)
    values[:, 0] += 3
    return torch.from_numpy(values)


def labels(count=30):
    return (["ant"] * 8 + ["cat", "dog", "bee"] * count)[:count]


def saved(folder, similarity="cosine", cuts=CUTS, ids=None, **how):
    """One bank, and the folders of its shards."""
    values, names = rows(), labels()
    kept = np.arange(100, 130) if ids is None else ids
    paths = [f"{number}.png" for number in range(30)]
    whole = MemoryBank.from_embeddings(values, names, paths=paths, similarity=similarity, ids=kept.tolist(), **how)
    folders = []
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        part = MemoryBank.from_embeddings(
            values[start:stop],
            names[start:stop],
            paths=paths[start:stop],
            similarity=similarity,
            ids=kept[start:stop].tolist(),
            **how,
        )
        folders.append(folder / f"shard-{number}")
        part.save(folders[-1])
    return whole, folders


def same(one, other):
    assert torch.equal(one.indices, other.indices)
    assert torch.equal(one.similarities, other.similarities)
    assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("similarity", NAMED)
def test_neighbors_are_those_of_one_bank(tmp_path, similarity):
    whole, folders = saved(tmp_path, similarity)
    joined = load_shards(folders)

    @given(seed=st.integers(0, 99), k=st.integers(1, 30))
    def agree(seed, k):
        queries = rows(seed, 3)
        same(joined.search(queries, k), whole.search(queries, k))

    agree()
    queries = rows(3, 4)
    same(joined.search(queries, 3, classes=["cat"]), whole.search(queries, 3, classes=["cat"]))
    same(joined.search(queries, 2, ids=[101, 108, 129]), whole.search(queries, 2, ids=[101, 108, 129]))
    own = torch.tensor([0, 7, 8, 29])
    same(joined.search(queries, 5, leave_out=own), whole.search(queries, 5, leave_out=own))


def test_they_hold_what_one_bank_holds(tmp_path):
    whole, folders = saved(tmp_path)
    joined = load_shards(folders)
    assert len(joined) == 30
    for start, stop in ((0, 30), (5, 9), (7, 8), (18, 30), (8, 8)):
        assert torch.equal(joined.rows.read(start, stop), whole.rows.read(start, stop))
    places = torch.tensor([[29, 0], [8, 7]])
    assert torch.equal(joined.rows.take(places), whole.rows.take(places))
    assert joined.classes == whole.classes == ("ant", "bee", "cat", "dog")
    assert torch.equal(joined.labels, whole.labels)
    assert torch.equal(joined.ids, whole.ids)
    assert list(joined.paths) == list(whole.paths)
    assert joined.paths[-1] == whole.paths[-1] == "29.png"
    assert joined.paths[6:9] == list(whole.paths[6:9])
    assert [joined.rows.place_of(row) for row in (0, 6, 7, 8, 29)] == [(0, 0), (0, 6), (1, 0), (2, 0), (3, 10)]
    assert audit(joined, 3).order.tolist() == audit(whole, 3).order.tolist()


def test_ids_that_two_folders_share_become_numbers_of_rows(tmp_path):
    _, folders = saved(tmp_path)
    shutil.copytree(folders[0], tmp_path / "copy")
    assert load_shards([folders[0], tmp_path / "copy"]).ids.tolist() == list(range(14))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"similarity": "euclidean"}, "shards of one similarity, but .* has 'cosine' and .*other has 'euclidean'"),
        ({"encoder": "another"}, "shards of one encoder, but .* has 'one' and .* has 'another'"),
        ({"preprocessing": "another"}, "shards of one preprocessing"),
        ({"channels": 4}, "shards of one number of channels, but .* has 5 and .* has 4"),
        ({"labels": [3, 4]}, "shards of one kind of labels, but .* has 'names' and .* has 'numbers'"),
    ],
)
def test_folders_that_do_not_belong_together_are_refused(tmp_path, how, said):
    _, folders = saved(tmp_path, encoder="one", preprocessing="resized")
    values = {"similarity": "cosine", "encoder": "one", "preprocessing": "resized", "labels": ["ant", "bee"]} | how
    other = MemoryBank.from_embeddings(rows(1, 2, values.pop("channels", 5)), **values)
    other.save(tmp_path / "other")
    with pytest.raises(Mistake, match=said):
        load_shards([*folders, tmp_path / "other"])


def test_one_encoder_under_two_names_is_one(tmp_path):
    for number, made_by in enumerate(("net (here.pt) #0123456789ab", "net (there.pt) #0123456789ab")):
        MemoryBank.from_embeddings(rows(number, 2), encoder=made_by).save(tmp_path / f"{number}")
    assert len(load_shards([tmp_path / "0", tmp_path / "1"])) == 4
    append(tmp_path / "0", rows(2, 1).numpy(), encoder="net (there.pt) #0123456789ab")
    with pytest.raises(Mistake, match="built with encoder"):
        append(tmp_path / "0", rows(2, 1).numpy(), encoder="net (here.pt) #ba9876543210")


def test_a_shard_that_is_missing_doubled_or_none_is_refused(tmp_path):
    _, folders = saved(tmp_path)
    with pytest.raises(Mistake, match=r"expected each shard once, but got .*shard-1 2 times"):
        load_shards([*folders, tmp_path / "." / "shard-1"])
    with pytest.raises(Mistake, match="but got none; name at least one"):
        load_shards([])
    with pytest.raises(TypeError, match=r"expected a list of folders, but got '.*shard-1'; write \['"):
        load_shards(str(tmp_path / "shard-1"))
    with pytest.raises(Mistake, match="in this process or on ray, but the engine is process"):
        load_shards(folders, engine="process")
    shutil.rmtree(folders[2])
    with pytest.raises(FileNotFoundError, match="shard-2"):
        load_shards(folders)


def test_a_shard_without_labels_joins_any(tmp_path):
    _, folders = saved(tmp_path)
    MemoryBank.from_embeddings(rows(1, 2)).save(tmp_path / "other")
    joined = load_shards([tmp_path / "other", *folders])
    assert joined.labels[:3].tolist() == [-1, -1, 0]


def test_ray_searches_them_and_says_what_is_wrong(tmp_path):
    whole, folders = saved(tmp_path)
    joined = load_shards(folders, engine=EngineOptions("ray", 1))
    queries = rows(3, 4)
    same(joined.search(queries, 9), whole.search(queries, 9))
    same(joined.search(queries, 3, classes=["cat"]), whole.search(queries, 3, classes=["cat"]))
    later = load_shards(folders, engine=EngineOptions("ray", 1))
    MemoryBank.load(folders[0]).delete([100])
    with pytest.raises(Mistake, match="shard-0 was changed while it was searched as a shard; open the shards again"):
        later.search(queries, 9)
    shutil.rmtree(folders[0])
    with pytest.raises(FileNotFoundError, match="shard-0"):
        later.search(queries, 9)
