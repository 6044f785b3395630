"""The storages behind a checkpoint's tensors: old views, and claims that a file cannot keep."""

import io
import pickle

import pytest
import torch
from test_checkpoint_pickles import archive, legacy

from fsl_explain.backbones.weights.checkpoint import read_content
from fsl_explain.backbones.weights.legacy_pickle import MAGIC, VERSION, read_inert
from fsl_explain.backbones.weights.pickle_names import DamagedFileError


class Saved:
    """Pickles as the given call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Persistent:
    def __init__(self, saved_id):
        self.saved_id = saved_id


class OldPickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.saved_id if isinstance(obj, Persistent) else None


def storage(key="0", count=6, view=None, kind=torch.FloatStorage):
    return Persistent(("storage", kind, key, "cuda:0", count, view))


def tensor(of, offset, size, stride, rebuild=torch._utils._rebuild_tensor):
    return Saved(rebuild, of, offset, size, stride)


def body(content):
    file = io.BytesIO()
    OldPickler(file, protocol=2).dump(content)
    return file.getvalue()


def written(path, content, storages, facts=None):
    """Write a file in the layout of PyTorch 0.3; ``storages`` are the values behind each key."""
    blocks = [
        len(values).to_bytes(8, "little") + torch.tensor(values).numpy().tobytes() for values in storages.values()
    ]
    heads = (MAGIC, VERSION, {"little_endian": True} if facts is None else facts)
    whole = b"".join(pickle.dumps(head, protocol=2) for head in heads) + body(content)
    path.write_bytes(whole + pickle.dumps(list(storages), protocol=2) + b"".join(blocks))
    return path


SIX = {"0": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}


def test_a_view_of_an_old_storage_begins_where_it_says(tmp_path):
    content = {"whole": tensor(storage(), 0, (2, 3), (3, 1)), "part": tensor(storage(view=("1", 2, 4)), 1, (2,), (2,))}
    read = read_content(written(tmp_path / "old.pth", content, SIX))
    assert read["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["part"].tolist() == [3, 5]


CLAIMS = {
    "more bytes than the file": tensor(storage(count=2**40), 0, (2**40,), (1,)),
    "a larger tensor than its storage": tensor(storage(), 0, (7,), (1,)),
    "a stride beyond its storage": tensor(storage(), 0, (2, 2), (5, 1)),
    "an offset beyond its storage": tensor(storage(), 6, (1,), (1,)),
    "a negative stride": tensor(storage(), 5, (2,), (-1,)),
    "one number many times": tensor(storage(), 0, (7,), (0,)),
    "one number in many rows": tensor(storage(), 0, (10**6, 10**6), (0, 0)),
    "a negative offset": tensor(storage(), -1, (1,), (1,)),
    "a view beyond its storage": tensor(storage(view=("1", 4, 4)), 0, (3,), (1,)),
    "a tensor beyond its view": tensor(storage(view=("1", 0, 2)), 0, (3,), (1,)),
    "a storage that is not there": tensor(storage(key="1"), 0, (1,), (1,)),
    "more shapes than strides": tensor(storage(), 0, (2, 2), (1,)),
    "a tensor of a list": tensor([1, 2], 0, (2,), (1,)),
    "a shape that is text": tensor(storage(), 0, "23", (1, 1)),
}


@pytest.mark.parametrize("claim", list(CLAIMS))
def test_claims_that_the_file_does_not_keep_are_refused_before_memory_is_taken(tmp_path, claim):
    path = written(tmp_path / "old.pth", {"x": CLAIMS[claim]}, SIX)
    with pytest.raises(
        ValueError, match=r"expected a PyTorch checkpoint, but .*old.pth cannot be read[;:].* download it"
    ):
        read_content(path)


@pytest.mark.parametrize("other", [storage(count=3), storage(kind=torch.IntStorage)], ids=["size", "kind"])
def test_two_descriptions_of_one_storage_are_refused(tmp_path, other):
    content = [tensor(storage(), 0, (1,), (1,)), tensor(other, 0, (1,), (1,))]
    with pytest.raises(DamagedFileError, match="describes the storage 0 twice, and differently"):
        read_inert(written(tmp_path / "old.pth", content, SIX))


def test_another_byte_order_is_refused(tmp_path):
    content = {"x": tensor(storage(), 0, (6,), (1,))}
    with pytest.raises(DamagedFileError, match="another byte order"):
        read_inert(written(tmp_path / "old.pth", content, SIX, facts={"little_endian": False}))
    assert read_inert(written(tmp_path / "old.pth", content, SIX))["x"].tolist() == SIX["0"]


def test_a_storage_of_another_length_than_its_header_says_is_refused(tmp_path):
    path = written(tmp_path / "old.pth", {"x": tensor(storage(count=5), 0, (5,), (1,))}, SIX)
    with pytest.raises(ValueError, match="cannot be read"):
        read_content(path)


@pytest.mark.parametrize("write", [legacy, archive], ids=["legacy", "zip"])
@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"", b".", b"Q.", b"h\x00.", b"}]s.", b"(u.", b"t.", b"}}}s.", b"](R."),
        *(b"B\xff\xff\xff\x7f.", b"\x8e" + b"\xff" * 7 + b"\x0fx."),
    ],
    ids=repr,
)
def test_a_pickle_that_is_no_program_ends_in_one_sentence(tmp_path, nonsense, write):
    (tmp_path / "old.pth").write_bytes(write(b"\x80\x02" + nonsense))
    with pytest.raises(ValueError, match=r"old.pth(: it is a pickle that asks for| cannot be read)"):
        read_content(tmp_path / "old.pth")


def test_a_mapping_inside_itself_and_a_list_that_doubles_are_read_as_they_are(tmp_path):
    """Thirty doublings of a list share their halves, and take no memory."""
    (tmp_path / "self.pth").write_bytes(legacy(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."))
    itself = read_content(tmp_path / "self.pth")
    assert itself["a"] is itself
    doubled = b"".join(
        b"(" + b"h" + bytes([level]) + b"h" + bytes([level]) + b"lq" + bytes([level + 1]) for level in range(30)
    )
    (tmp_path / "many.pth").write_bytes(legacy(b"\x80\x02]q\x00" + doubled + b"."))
    assert len(read_content(tmp_path / "many.pth")) == 2
