"""Checkpoints that hold live objects are read as data; those that want to run code run none."""

import io
import pickle
import sys
import zipfile
from argparse import Namespace
from collections import OrderedDict

import numpy as np
import pytest
import torch
from live_npid import NCEAverage, official_names, save_npid
from torch import nn

from fsl_explain.backbones.weights.checkpoint import read_content
from fsl_explain.backbones.weights.legacy_pickle import MAGIC, VERSION
from fsl_explain.backbones.weights.pickle_names import Inert

FACTS = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def parts(*values):
    return b"".join(pickle.dumps(value, protocol=2) for value in values)


def legacy(body):
    return parts(MAGIC, VERSION, FACTS) + body + parts([])


def archive(body):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as written:
        written.writestr("archive/data.pkl", body)
        written.writestr("archive/version", "3\n")
        written.writestr("archive/byteorder", "little")
    return file.getvalue()


FORMATS = {"legacy": legacy, "zip": archive, "bare pickle": bytes}


def text(value):
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


STUB = name("lib.NCEAverage", "NCEAverage")
OBJECT = STUB + b")\x81"
SYSTEM = name("posix", "system")


def hostile(marker):
    """What an attacker could write, by what it tries; COMMAND would make the marker."""
    command = text(f"mkdir {marker}")
    run = SYSTEM + command + b"\x85R"
    key = text("k")
    return {
        "a call": (run, "posix.system"),
        "a call inside a state dict": (b"}" + key + run + b"s", "posix.system"),
        "a state of a stub that is a call": (OBJECT + b"}" + key + run + b"sb", "posix.system"),
        "a state that names __setstate__": (OBJECT + b"}" + text("__setstate__") + SYSTEM + b"sb", "posix.system"),
        "slots of a stub's class": (STUB + b"N}" + text("__init__") + STUB + b"s\x86b", "a change of lib.NCEAverage"),
        "a change of a rebuilder": (
            name("torch._utils", "_rebuild_tensor_v2") + b"}b",
            "a change of torch._utils._reb",
        ),
        "a call inside a persistent id": (b"(" + text("storage") + run + b"tQ", "posix.system"),
        "a persistent id that is a name": (b"(" + text("module") + SYSTEM + b"NNtQ", "posix.system"),
        "a persistent id of another kind": (b"(" + text("file") + text("x") + b"tQ", "a persistent id of unknown"),
        "a persistent id that is text": (text("storage") + b"Q", "a persistent id of unknown"),
        "a persistent id of a line": (b"Pstorage\n", "the instruction PERSID"),
        "getattr": (name("builtins", "getattr") + OBJECT + text("__class__") + b"\x86R", "getattr"),
        "eval": (name("builtins", "eval") + command + b"\x85\x81", "eval"),
        "eval of Python 2": (name("__builtin__", "eval") + command + b"\x85R", "eval"),
        "a torch.load inside": (name("torch.serialization", "load") + command + b"\x85R", "torch.serialization.load"),
        "bytes to load": (name("torch.storage", "_load_from_bytes") + command + b"\x85R", "torch.storage._load_from"),
        "a dotted name": (text("torch.serialization") + text("os.system") + b"\x93", "torch.serialization.os.system"),
        "a dotted name of a stub": (text("lib.NCEAverage") + text("NCEAverage.x") + b"\x93", "lib.NCEAverage.NCEAver"),
        "a dotted layer": (text("torch.nn.modules.linear") + text("torch.os") + b"\x93", "torch.nn.modules.linear.tor"),
        "a name that is no text": (b"K\x01K\x02\x93", "a name that is no text"),
        "an old instance": (b"(" + command + b"iposix\nsystem\n", "the instruction INST"),
        "an old object": (b"(" + STUB + command + b"o", "the instruction OBJ"),
        "an extension": (b"\x82\x01", "the instruction EXT1"),
        "a call of text": (command + b")R", "a call of str"),
        "a call of a storage": (name("torch", "FloatStorage") + b"K\x01\x85R", "a call of torch.FloatStorage"),
        "a reconstruction": (name("copy_reg", "_reconstructor") + SYSTEM + b"\x85R", "posix.system"),
        "a parameter of text": (name("torch._utils", "_rebuild_parameter") + command + b"\x85R", "a parameter without"),
    }


@pytest.mark.parametrize("write", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("attempt", list(hostile("")))
def test_nothing_of_a_hostile_pickle_runs_and_it_is_refused_by_name(tmp_path, attempt, write):
    marker, path = tmp_path / "was-here", tmp_path / "evil.pth"
    body, wanted = hostile(marker)[attempt]
    path.write_bytes(write(b"\x80\x02" + body + b"."))
    with pytest.raises(
        ValueError, match=rf"refused .*evil.pth: it is a pickle that asks for {wanted}.* could run code"
    ):
        read_content(path)
    assert not marker.exists()


def test_the_traps_work_where_pickle_itself_opens_them(tmp_path):
    marker = tmp_path / "was-here"
    pickle.loads(b"\x80\x02" + hostile(marker)["a call"][0] + b".")
    assert marker.exists()


def test_no_module_is_imported_for_a_name_on_the_list(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("")
    marker = tmp_path / "imported"
    (tmp_path / "lib" / "NCEAverage.py").write_text(f"open({str(marker)!r}, 'w')\nclass NCEAverage: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "weights.pth").write_bytes(legacy(b"\x80\x02" + OBJECT + b"."))
    assert read_content(tmp_path / "weights.pth").kind == "lib.NCEAverage.NCEAverage"
    assert not marker.exists()
    assert "lib.NCEAverage" not in sys.modules


@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
def test_a_live_object_is_kept_as_data_and_never_built(tmp_path, monkeypatch, zipped):
    memory = nn.functional.normalize(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)))
    state = nn.Linear(3, 2).state_dict()
    save_npid(tmp_path / "lemniscate.pth.tar", memory, state, zipped)
    monkeypatch.setattr(NCEAverage, "marker", str(tmp_path / "was-here"))
    monkeypatch.setattr(NCEAverage, "__init__", None)
    with official_names():
        read = read_content(tmp_path / "lemniscate.pth.tar")
    assert not (tmp_path / "was-here").exists()
    assert (read["epoch"], read["arch"], read["best_prec1"].item()) == (200, "resnet18", 46.5)
    lemniscate = read["lemniscate"]
    assert type(lemniscate) is Inert
    parts = lemniscate.parts()
    assert torch.equal(parts["memory"], memory)
    assert torch.equal(parts["bias"], torch.arange(3.0))
    assert parts["nLem"] == 7
    assert torch.equal(parts["multinomial"].parts()["alias"], torch.arange(7))
    assert all(torch.equal(read["state_dict"][key], value) for key, value in state.items())
    assert read["optimizer"]["param_groups"] == [{"lr": 0.03}]


def save(content, path, zipped):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def tensors(kind):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(6, 4, generator=generator).to(kind)
    transposed, row = values.T, values[2]
    return OrderedDict(all=values, transposed=transposed, row=row, scalar=values[0, 0], empty=values[:0])


@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_of_every_kind_and_view_are_those_of_torch(tmp_path, kind, zipped):
    content = tensors(kind)
    content["options"] = Namespace(lr=0.1, arch="resnet18")
    save(content, tmp_path / "views.pth", zipped)
    read = read_content(tmp_path / "views.pth")
    for key, value in tensors(kind).items():
        assert torch.equal(read[key], value), key
        assert read[key].dtype == kind
    assert read["options"].parts() == {"lr": 0.1, "arch": "resnet18"}


def test_numbers_of_numpy_and_settings_do_not_keep_weights_from_being_read(tmp_path):
    save({"state_dict": {"w": torch.ones(2)}, "acc": np.float64(0.5), "kind": np.dtype("f4")}, tmp_path / "a.pth", True)
    assert torch.equal(read_content(tmp_path / "a.pth")["state_dict"]["w"], torch.ones(2))
