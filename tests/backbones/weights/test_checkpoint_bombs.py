"""Small files made to fill the memory or to end the interpreter: each is refused in one sentence, at no cost."""

import os
import resource
from collections import Counter, OrderedDict

import pytest
import torch
from test_checkpoint_pickles import FORMATS, legacy, name
from test_checkpoint_storages import SIX, Saved, storage, tensor, written

from fsl_explain.backbones.weights import legacy_pickle
from fsl_explain.backbones.weights.checkpoint import read_content

MANY = 10**7


def calls_over_a_tensor():
    many = tensor(storage(count=1), 0, (MANY,), (0,))
    return {
        "a size": Saved(torch.Size, many),
        "a set": Saved(set, many),
        "a mapping": Saved(OrderedDict, many),
        "a shape": tensor(storage(count=1), 0, many, (0,)),
        "a view": tensor(storage(count=1, view=many), 0, (1,), (1,)),
    }


@pytest.mark.parametrize("call", list(calls_over_a_tensor()))
def test_one_stored_number_does_not_become_many_objects(tmp_path, call):
    path = written(tmp_path / "bomb.pth", {"x": calls_over_a_tensor()[call]}, {"0": [1.0]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ValueError, match=r"bomb.pth cannot be read: .* tensor that is larger than its storage; download"
    ):
        read_content(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("container", [torch.Size, set])
@pytest.mark.parametrize(
    "wrong", [tensor(storage(), 0, (6,), (1,)), "text", 6, {}], ids=["tensor", "text", "int", "{}"]
)
def test_a_container_is_made_of_a_list_alone(tmp_path, container, wrong):
    path = written(tmp_path / "old.pth", Saved(container, wrong), SIX)
    with pytest.raises(
        ValueError, match=r"cannot be read: it describes a container by (Tensor|str|int|dict); download"
    ):
        read_content(path)


def test_a_list_is_not_copied_again_and_again(tmp_path):
    numbers = b"](" + b"".join(b"M" + number.to_bytes(2, "little") for number in range(3000)) + b"eq\x00"
    for function, arguments in (("Size", b"h\x00\x85R"), ("Size", b"h\x00\x85\x81")):
        copies = name("torch", function) + b"q\x01" + 100 * (b"0h\x01" + arguments)
        (tmp_path / "copies.pth").write_bytes(legacy(b"\x80\x02" + numbers + copies + b"."))
        with pytest.raises(ValueError, match=r"cannot be read: it copies its content over and over; download"):
            read_content(tmp_path / "copies.pth")
    once = name("torch", "Size") + b"h\x00\x85R"
    (tmp_path / "once.pth").write_bytes(legacy(b"\x80\x02" + numbers + once + b"."))
    assert read_content(tmp_path / "once.pth") == tuple(range(3000))


def test_the_state_of_many_objects_is_not_copied_again_and_again(tmp_path):
    pairs = b"".join(b"M" + number.to_bytes(2, "little") + b"N" for number in range(3000))
    stub = name("lib.NCEAverage", "NCEAverage") + b")\x81h\x00b0"
    (tmp_path / "copies.pth").write_bytes(legacy(b"\x80\x02}(" + pairs + b"uq\x00" + 100 * stub + b"."))
    with pytest.raises(ValueError, match=r"cannot be read: it copies its content over and over; download"):
        read_content(tmp_path / "copies.pth")


DEEP = b")" + 3 * b"\x85"
KEYS = {
    "of a dictionary": b"}" + DEEP + b"Ns",
    "of many": b"}(" + DEEP + b"Nu",
    "of an old dictionary": b"(" + DEEP + b"Nd",
    "of a set": b"\x8f(" + DEEP + b"\x90",
    "of a frozen set": b"(" + DEEP + b"\x91",
    "of pairs": name("collections", "OrderedDict") + b"](" + DEEP + b"N\x86e\x85R",
    "of a called set": name("__builtin__", "set") + b"](" + DEEP + b"e\x85R",
    "of a live object": name("lib.NCEAverage", "NCEAverage") + b")\x81" + DEEP + b"Ns",
    "of many parts": b"}(" + 9 * b"N" + b"tNs",
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("kind", list(KEYS))
def test_keys_that_are_nested_are_refused(tmp_path, kind, write):
    (tmp_path / "keys.pth").write_bytes(write(b"\x80\x02" + KEYS[kind] + b"."))
    with pytest.raises(ValueError, match=r"cannot be read: it has keys that are neither names nor numbers; download"):
        read_content(tmp_path / "keys.pth")


def test_a_key_too_deep_to_be_hashed_does_not_end_the_interpreter(tmp_path):
    """In another process, which it would end."""
    (tmp_path / "deep.pth").write_bytes(FORMATS["zip"](b"\x80\x02})" + 200_000 * b"\x85" + b"Ns."))
    child = os.fork()
    if child == 0:
        try:
            read_content(tmp_path / "deep.pth")
        except ValueError as error:
            os._exit(int("it has keys that are neither names nor numbers; download" not in str(error)))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    "key", ["k", 1, 2.5, b"b", True, None, (), ("a", 1, None), torch.nn.Linear, frozenset({1})], ids=repr
)
def test_plain_keys_are_read(tmp_path, key):
    content = {key: 3} if key != frozenset({1}) else {"a set": key}
    torch.save({"content": content, "weight": torch.ones(2)}, tmp_path / "keys.pth", pickle_protocol=4)
    read = read_content(tmp_path / "keys.pth")["content"]
    assert (
        str(read) == str(content)
        if key is not torch.nn.Linear
        else list(map(str, read)) == [f"{key.__module__}.Linear"]
    )


def test_a_name_that_makes_room_is_refused(tmp_path):
    """PyTorch's own restricted reader knows this one."""
    room = name("__builtin__", "bytearray") + b"\x8a\x06" + (10**14).to_bytes(6, "little") + b"\x85R"
    (tmp_path / "room.pth").write_bytes(legacy(b"\x80\x02" + room + b"."))
    with pytest.raises(ValueError, match=r"a pickle that asks for bytearray, and loading"):
        read_content(tmp_path / "room.pth")


def test_too_little_memory_is_said(tmp_path, monkeypatch):
    torch.save({"weight": torch.ones(2)}, tmp_path / "large.pth")

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(legacy_pickle.torch, "empty", full)
    with pytest.raises(
        MemoryError, match=r"expected room in memory for .*large.pth of 0 MiB, but there is not enough; end"
    ):
        read_content(tmp_path / "large.pth")


def test_what_only_torch_used_to_read_is_still_read(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.note = "kept by PyTorch"
    content = {
        "milestones": Counter({30: 1, 60: 2}),
        "kind": torch.bfloat16,
        "device": torch.device("cpu"),
        "noted": parameter,
        "complex": torch.tensor([1 + 2j]),
        "size": torch.Size([2, 3]),
    }
    torch.save(content, tmp_path / "all.pth")
    read = read_content(tmp_path / "all.pth")
    assert (read["milestones"], str(read["kind"]), read["size"]) == ({30: 1, 60: 2}, "torch.bfloat16", (2, 3))
    assert torch.equal(read["noted"], parameter)
    assert torch.equal(read["complex"], content["complex"])
