"""Embeddings that other software left in a file become a bank: the same rows, labels and paths, or one sentence."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.datasets import ImageFolder

from retrieval_explain import MemoryBank
from retrieval_explain.imports import embedding_sources
from retrieval_explain.imports.image_lists import read_image_list
from retrieval_explain.imports.importing import import_embeddings

ROWS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
TENSOR = torch.from_numpy(UNIT)


@pytest.fixture(autouse=True)
def pieces_of_two_rows(monkeypatch):
    monkeypatch.setattr(embedding_sources, "PIECE_BYTES", 24)


def write(path, value):
    if path.suffix == ".npy":
        np.save(path, value)
    elif path.suffix == ".parquet":
        pq.write_table(pa.table(value), path)
    elif path.suffix == ".safetensors":
        save_file(value, path)
    else:
        torch.save(value, path)
    return path


def rows_of(bank):
    return bank.rows.read(0, len(bank)).numpy()


FILES = {
    "rows.npy": UNIT,
    "fortran.npy": np.asfortranarray(UNIT),
    "double.npy": UNIT.astype(np.float64),
    "table.parquet": {"embedding": list(UNIT)},
    "fixed.parquet": {"embedding": pa.FixedSizeListArray.from_arrays(UNIT.ravel(), 3)},
    "moco.pth.tar": {
        "epoch": 3,
        "state_dict": {"module.queue": TENSOR.T.contiguous(), "module.queue_ptr": torch.ones(1)},
    },
    "queue.pt": {"queue": TENSOR.T.contiguous()},
    "queue_of_rows.pt": {"queue": TENSOR},
    "npid.pth": {"lemniscate": {"memory": TENSOR, "params": torch.ones(5)}},
    "memory.pt": {"weight": torch.ones(3, 4), "memory": TENSOR},
    "tensor.pt": TENSOR,
    "queue.safetensors": {"module.queue": TENSOR.T.contiguous(), "other": torch.ones(2, 2)},
    "only.safetensors": {"anything": TENSOR, "bias": torch.ones(2)},
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_every_layout_gives_the_same_rows(tmp_path, name, on_disk):
    file, told = write(tmp_path / name, FILES[name]), []
    directory = tmp_path / "bank" if on_disk else None
    bank = import_embeddings(file, directory, encoder="MoCo", report=lambda *parts: told.append(parts))
    np.testing.assert_array_equal(rows_of(bank), UNIT)
    assert (bank.encoder, bank.similarity, bank.directory) == ("MoCo", "cosine", directory)
    assert [done for _, done, _ in told] == [2, 2, 2, 1]
    assert bank.search(TENSOR, 1).indices.squeeze(1).tolist() == list(range(7))
    assert (bank.labels.tolist(), list(bank.paths)) == ([-1] * 7, [""] * 7)


@pytest.mark.parametrize("name", ["columns.npy", "columns.pt", "columns.safetensors"])
def test_the_layout_and_the_key_may_be_said(tmp_path, name):
    turned = 3 * TENSOR.T.contiguous()
    value = turned.numpy() if name.endswith("npy") else {"a": torch.ones(2, 2), "my queue": turned}
    file = write(tmp_path / name, value)
    key = None if name.endswith("npy") else "my queue"
    np.testing.assert_array_equal(rows_of(import_embeddings(file, layout="columns", key=key)), 3 * UNIT)
    np.testing.assert_array_equal(rows_of(import_embeddings(file, layout="rows", key=key)), 3 * UNIT.T)


def test_types_that_numpy_does_not_know(tmp_path):
    file = write(tmp_path / "half.safetensors", {"queue": TENSOR.T.contiguous().bfloat16()})
    np.testing.assert_allclose(rows_of(import_embeddings(file)), UNIT, atol=0.01)


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize(("labels", "told"), [(list("abcabca"), "abcabca"), (list(range(7)), range(7))], ids=str)
def test_a_table_keeps_ids_labels_and_paths(tmp_path, on_disk, labels, told):
    ids, paths = [9, 8, 7, 6, 5, 4, 30], [f"{i}.png" if i else None for i in range(7)]
    file = write(tmp_path / "t.parquet", {"id": ids, "label": labels, "path": paths, "embedding": list(UNIT)})
    bank = import_embeddings(file, tmp_path / "bank" if on_disk else None)
    found = [bank.classes[label] if bank.classes else label for label in bank.labels.tolist()]
    assert (found, bank.ids.tolist(), list(bank.paths)) == (list(told), ids, [path or "" for path in paths])


def test_images_are_told_by_a_list(tmp_path):
    lines = [
        "n01/x.JPEG 0",
        "n01/y z.png\t12",
        "n02/a b.jpg,7",
        "",
        "n02/c d.jpg",
        "n03/e.jpg 3 ",
        "f.png",
        "n,1/g, h.png 2",
    ]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    listed = read_image_list(tmp_path / "list.txt")
    expected = ["n01/x.JPEG", "n01/y z.png", "n02/a b.jpg", "n02/c d.jpg", "n03/e.jpg", "f.png", "n,1/g, h.png"]
    assert listed.paths == expected
    assert (listed.labels, listed.numbered) == (["0", "12", "7", "n02", "3", None, "2"], False)
    bank = import_embeddings(write(tmp_path / "q.pt", {"queue": TENSOR.T.contiguous()}), images=tmp_path / "list.txt")
    assert (list(bank.paths), bank.classes[bank.labels[3]], bank.labels[5]) == (expected, "n02", -1)
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {9 - i}\n" for i in range(7)))
    for directory in (None, tmp_path / "bank"):
        numbered = import_embeddings(tmp_path / "q.pt", directory, images=tmp_path / "list.txt")
        assert (numbered.labels.tolist(), numbered.classes) == ([9, 8, 7, 6, 5, 4, 3], ())
    named = import_embeddings(tmp_path / "q.pt", labels=list("gfedcba"), images=tmp_path / "list.txt")
    assert (named.labels.tolist(), named.paths[6]) == ([6, 5, 4, 3, 2, 1, 0], "6.png")


def test_images_are_told_by_a_folder_in_the_order_of_torchvision(tmp_path):
    names = ["b/2.png", "b/10.png", "a/z.jpg", "a/deep/er.png", "c/x.webp", "a/B.png", "c/.y.png"]
    for name in names:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    bank = import_embeddings(write(tmp_path / "rows.npy", UNIT), images=tmp_path / "images")
    samples = ImageFolder(str(tmp_path / "images")).samples
    assert list(zip(bank.paths, bank.labels.tolist(), strict=True)) == samples
    assert bank.classes == ("a", "b", "c")


class Payload:
    def __reduce__(self):
        return print, ("must not run",)


WRONG = {
    "nowhere.npy": (None, {}, FileNotFoundError, "expected a file of embeddings, but .* does not exist"),
    "a.csv": (b"", {}, ValueError, r"\.npy, \.safetensors, \.pt, \.pth, \.tar or \.parquet, but got a\.csv"),
    "text.npy": (b"text", {}, ValueError, r"expected an array of numbers, but .*text\.npy cannot be read"),
    "objects.npy": (np.array([{}, {}]), {}, ValueError, "cannot be read .*Python objects"),
    "flat.npy": (np.ones(4), {}, ValueError, r"a matrix of embeddings, but flat\.npy of .* has shape \(4,\)"),
    "empty.npy": (np.ones((0, 4)), {}, ValueError, r"shape \(0, 4\)"),
    "zero.npy": (np.eye(4)[:, 1:], {}, ValueError, "1 of 4 embeddings are zero or not finite, first row 0"),
    "layout.npy": (UNIT, {"layout": "row"}, LookupError, "unknown layout 'row'.*rows"),
    "similar.npy": (UNIT, {"similarity": "cosin"}, LookupError, "unknown similarity 'cosin'"),
    "count.npy": (
        UNIT,
        {"labels": list("ab")},
        ValueError,
        "each of the 7 embeddings of .*, but the labels are 2; give",
    ),
    "turned.npy": (UNIT.T, {"labels": [1] * 7}, ValueError, "the labels are 7; .* from with the layout columns"),
    "list.npy": (UNIT, {"images": "nowhere.txt"}, FileNotFoundError, r"but nowhere\.txt does not exist"),
    "text.parquet": (b"text", {}, ValueError, r"expected a Parquet table, but .*text\.parquet cannot be read"),
    "column.parquet": ({"embeddings": list(UNIT)}, {}, LookupError, "unknown column of column.parquet 'embedding'"),
    "words.parquet": ({"embedding": ["a"]}, {}, ValueError, "to hold lists of numbers, but it is string"),
    "none.parquet": ({"embedding": pa.array([], pa.list_(pa.float32()))}, {}, ValueError, "has no rows"),
    "ragged.parquet": (
        {"embedding": [[1.0, 2], [3.0, 4], [5.0, 6], [7.0]]},
        {},
        ValueError,
        "2 numbers .* row 3 has 1",
    ),
    "null.parquet": ({"embedding": [[1.0, 2], None]}, {}, ValueError, "2 numbers in each .* but row 1 has 0"),
    "turned.parquet": (
        {"embedding": list(UNIT)},
        {"layout": "columns"},
        ValueError,
        "layout rows for the Parquet table",
    ),
    "text.safetensors": (b"text", {}, ValueError, "expected a safetensors file, but .* cannot be read"),
    "two.safetensors": ({"a": TENSOR, "b": TENSOR + 1}, {}, ValueError, "one matrix .*, but it holds 2; name one"),
    "key.safetensors": ({"a": TENSOR}, {"key": "b"}, LookupError, r"unknown tensor of key\.safetensors 'b'"),
    "text.pt": (b"text", {}, ValueError, "expected a PyTorch checkpoint, but .* cannot be read"),
    "code.pt": (Payload(), {}, ValueError, "is a pickle that asks for print, and loading that could run code"),
    "queue.pt": (
        {"queue": 3 * TENSOR},
        {},
        ValueError,
        "neither its columns nor its rows have it; say with the layout",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_one_sentence(tmp_path, name, capsys):
    value, options, kind, sentence = WRONG[name]
    if isinstance(value, bytes):
        (tmp_path / name).write_bytes(value)
    elif name.startswith("objects"):
        np.save(tmp_path / name, value)  # of objects, so that it holds a pickle, which must be refused
    elif value is not None:
        write(tmp_path / name, value)
    with pytest.raises(kind, match=sentence):
        import_embeddings(tmp_path / name, **options)
    with pytest.raises((ValueError, LookupError, FileNotFoundError), match=r"."):
        import_embeddings(tmp_path / name, tmp_path / "bank", **options)
    assert not (tmp_path / "bank" / "CURRENT").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("new", [False, True], ids=["legacy", "zip"])
def test_a_live_object_is_refused_by_its_name(tmp_path, new, monkeypatch):
    module = type(pickle)("lib_nce")
    module.NCEAverage = type("NCEAverage", (), {"__module__": "lib_nce"})
    monkeypatch.setitem(__import__("sys").modules, "lib_nce", module)
    torch.save({"lemniscate": module.NCEAverage()}, tmp_path / "npid.pth.tar", _use_new_zipfile_serialization=new)
    with pytest.raises(ValueError, match=r"asks for lib_nce\.NCEAverage, and loading that could run code"):
        import_embeddings(tmp_path / "npid.pth.tar")


def test_old_files_that_cannot_be_mapped_are_read(tmp_path):
    torch.save({"queue": TENSOR.T.contiguous()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(rows_of(import_embeddings(tmp_path / "old.pth")), UNIT)
    nested = {"epoch": 3, "arch": "resnet18", "lemniscate": {"memory": TENSOR}}
    torch.save(nested, tmp_path / "nested.pth", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(rows_of(import_embeddings(tmp_path / "nested.pth")), UNIT)


def test_a_label_holds_no_slash(tmp_path):
    (tmp_path / "list.txt").write_text("n,1/picture 2\nn,1/picture\n")
    assert read_image_list(tmp_path / "list.txt").paths == ["n,1/picture", "n,1/picture"]
    assert read_image_list(tmp_path / "list.txt").labels == ["2", "n,1"]


@pytest.mark.parametrize(("text", "sentence"), [(b"\xff\xfe", "is no UTF-8 text"), (b"\n \n", "lists none")], ids=str)
def test_lists_that_cannot_be_read_are_named(tmp_path, text, sentence):
    (tmp_path / "list.txt").write_bytes(text)
    with pytest.raises(ValueError, match=rf"one image a line, but .*list\.txt {sentence}"):
        read_image_list(tmp_path / "list.txt")


def test_an_imported_bank_is_found_again(tmp_path):
    import_embeddings(write(tmp_path / "rows.npy", ROWS), tmp_path / "bank", similarity="euclidean", dtype="float16")
    bank = MemoryBank.load(tmp_path / "bank")
    assert bank.similarity == "euclidean"
    np.testing.assert_array_equal(rows_of(bank), ROWS.astype(np.float16).astype(np.float32))
