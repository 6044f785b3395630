"""Small files made to fill the memory or to end the interpreter: each is refused in one sentence, at no cost."""

import io
import pickle
import resource
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict

import pytest
import torch
from test_checkpoint_pickles import FORMATS, legacy, name, text
from test_checkpoint_storages import SIX, Saved, body, storage, tensor, written

from fsl_explain.backbones import legacy_pickle
from fsl_explain.backbones.checkpoint import read_content

MANY = 10**7
SIZE, ORDERED = name("torch", "Size"), name("collections", "OrderedDict")


class Named:
    """Pickles as a name that need not be there, called with arguments."""

    def __init__(self, module, attribute):
        self.pair = module, attribute


def calls_over_a_tensor():
    many = tensor(storage(count=1), 0, (MANY,), (0,))
    return {
        "Size": Saved(torch.Size, many),
        "set": Saved(set, many),
        "a dictionary": Saved(OrderedDict, many),
        "a shape": tensor(storage(count=1), 0, many, (0,)),
        "a view": tensor(storage(count=1, view=many), 0, (1,), (1,)),
    }


@pytest.mark.parametrize("call", list(calls_over_a_tensor()))
def test_one_stored_number_does_not_become_many_objects(tmp_path, call):
    path = written(tmp_path / "bomb.pth", {"x": calls_over_a_tensor()[call]}, {"0": [1.0]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"bomb.pth cannot be read: it describes a tensor that is larger than its stor"):
        read_content(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


@pytest.mark.parametrize("container", [torch.Size, set, OrderedDict])
def test_a_container_is_made_of_a_list_and_never_of_a_tensor_or_text(tmp_path, container):
    for wrong in (tensor(storage(), 0, (6,), (1,)), "text", 6):
        path = written(tmp_path / "old.pth", {"x": Saved(container, wrong), "y": tensor(storage(), 0, (6,), (1,))}, SIX)
        if container is OrderedDict:
            assert read_content(path)["x"] == {}
            continue
        with pytest.raises(ValueError, match=r"old.pth cannot be read: it describes a container by (Tensor|str|int)"):
            read_content(path)


def nested(levels):
    return b")" + levels * b"\x85"


DEEP_KEYS = {
    "of a dictionary": b"}" + nested(200_000) + b"Ns",
    "of a set": b"\x8f(" + nested(200_000) + b"\x90",
    "of a frozen set": b"(" + nested(200_000) + b"\x91",
    "of pairs": ORDERED + b"](" + nested(200_000) + b"N\x86e\x85R",
    "of a called set": name("__builtin__", "set") + b"](" + nested(200_000) + b"e\x85R",
    "as short tuples": b"}" + nested(3) + b"Ns",
    "of many parts": b"}(" + 9 * b"N" + b"tNs",
}


@pytest.mark.parametrize("write", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("kind", list(DEEP_KEYS))
def test_a_key_that_is_nested_is_refused_before_it_is_hashed(tmp_path, kind, write):
    """In another process, because a deep key ends it where it is hashed."""
    path = tmp_path / "deep.pth"
    path.write_bytes(write(b"\x80\x02" + DEEP_KEYS[kind] + b"."))
    if "short" in kind or "many" in kind:
        with pytest.raises(ValueError, match=r"deep.pth cannot be read: it has keys that are neither names nor"):
            read_content(path)


def test_no_deep_key_ends_the_interpreter(tmp_path):
    for number, (kind, write) in enumerate((kind, write) for kind in DEEP_KEYS for write in FORMATS.values()):
        (tmp_path / f"{number}.pth").write_bytes(write(b"\x80\x02" + DEEP_KEYS[kind] + b"."))
    program = (
        "import sys, pathlib\n"
        "from fsl_explain.backbones.checkpoint import read_content\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        read_content(path)\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(DEEP_KEYS) * len(FORMATS)
    assert all("cannot be read" in line for line in lines)
