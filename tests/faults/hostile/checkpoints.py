"""Files of weights: damaged, endless, of other types, and programs in the place of data."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from faults.hostile.runner import Case, answered
from PIL import Image
from safetensors.torch import save_file

import fsl_explain.cli.explain  # noqa: F401  once, not in the process of each case
from fsl_explain import Encoder
from fsl_explain.cli.app import run

PROOF = "it-ran"


class Program:
    """A pickle of this one calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def cases(folder: Path) -> Iterator[Case]:
    """Yield files that stand for weights of a small network, on every road to it."""
    network = Encoder.named("conv4net").network
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    good = folder / "good.safetensors"
    save_file(state, good)
    torch.save(state, folder / "good.pt")
    yield "safetensors as they should be", partial(opened, good), "taken"
    yield "PyTorch as it should be", partial(opened, folder / "good.pt"), "taken"
    for name, content in contents(state, good, folder).items():
        for ending in (".safetensors", ".pt"):
            path = folder / f"{name.replace(' ', '-').replace('/', '-')}{ending}"
            path.write_bytes(content)
            yield f"{name} as {ending}", partial(opened, path), "refused"
    for name, broken in states(state).items():
        path = folder / f"{name.replace(' ', '-')}.pt"
        torch.save(broken, path)
        yield f"{name} in PyTorch", partial(opened, path), "refused"
    for name, broken in states(state).items():
        if isinstance(broken, dict) and broken and saved_whole(broken):
            path = folder / f"{name.replace(' ', '-')}.safetensors"
            save_file({key: value.contiguous() for key, value in broken.items()}, path)
            yield f"{name} in safetensors", partial(opened, path), "refused"
    for name, function, arguments in programs(folder):
        for protocol in range(6):
            path = folder / f"{name}-{protocol}.pt"
            path.write_bytes(pickle.dumps({"weight": Program(function, *arguments)}, protocol))
            yield f"program {name}, protocol {protocol}", partial(harmless, path, folder), "refused"
    yield from commands(folder)


def saved_whole(state: dict[Any, Any]) -> bool:
    """Return whether safetensors can hold a state."""
    dense = all(isinstance(value, torch.Tensor) and not value.is_sparse for value in state.values())
    return dense and all(isinstance(name, str) for name in state)


def opened(path: Path) -> object:
    """Open the weights as an encoder."""
    return Encoder.named("conv4net", checkpoint=path)


def harmless(path: Path, folder: Path) -> object:
    """Open a program, and fail if it ran."""
    try:
        return opened(path)
    finally:
        assert not (folder / PROOF).exists(), "the program ran"


def programs(folder: Path) -> Iterator[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Yield functions that a checkpoint must never call."""
    yield "system", os.system, (f"touch {folder / PROOF}",)
    yield "eval", eval, (f"open({str(folder / PROOF)!r}, 'w')",)
    yield "exec", exec, ("x = 1",)
    yield "mkdir", os.mkdir, (str(folder / PROOF),)
    yield "getattr", getattr, ("text", "upper")
    yield "load", torch.load, (str(folder / "good.pt"),)
    yield "bytes", bytes, (10**12,)


def contents(state: dict[str, torch.Tensor], good: Path, folder: Path) -> dict[str, bytes]:
    """Return bytes that are no weights."""
    whole, archive = good.read_bytes(), (folder / "good.pt").read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    first = next(name for name in header if name != "__metadata__")

    def changed(**values: Any) -> bytes:
        text = json.dumps(header | {first: header[first] | values}).encode()
        return struct.pack("<Q", len(text)) + text + whole[8 + size :]

    found = {
        "empty": b"",
        "zeros": b"\0" * 1000,
        "text": b"weights\n",
        "header of 2^63": struct.pack("<Q", 2**63) + b"{}",
        "header of 2^40": struct.pack("<Q", 2**40) + b"{}",
        "header of 90 MB": struct.pack("<Q", 90_000_000) + b"{" + b" " * 89_999_999,
        "header nested": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "header no JSON": struct.pack("<Q", 4) + b"nope",
        "header a list": struct.pack("<Q", 2) + b"[]",
        "another type": changed(dtype="F16"),
        "no type": changed(dtype="none"),
        "negative shape": changed(shape=[-1, 3]),
        "huge shape": changed(shape=[2**62, 2**62]),
        "shape of texts": changed(shape=["a"]),
        "offsets past the end": changed(data_offsets=[0, 2**50]),
        "offsets backward": changed(data_offsets=[100, 0]),
        "pickle of a number": pickle.dumps(7),
        "pickle of a list": pickle.dumps([1, 2]),
        "pickle without end": pickle.dumps({"a": 1})[:-1],
        "pickle of marks": b"\x80\x02" + b"(" * 1_000_000,
        "pickle nested": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "pickle of a long number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"1.",
        "pickle of a long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"1.",
        "a ZIP of nothing": zipped({}),
        "a ZIP of zeros": zipped({"data.pkl": b"\0" * 200_000_000}),
        "a ZIP of a pickle": zipped({"a/data.pkl": pickle.dumps({"a": 1}), "a/version": b"3"}),
        "a ZIP of a way out": zipped({"../../data.pkl": pickle.dumps({}), "../../version": b"3"}),
        "a ZIP of 20,000 entries": zipped({f"a/{number}": b"" for number in range(20_000)}),
    }
    found |= {f"safetensors cut at {share} %": whole[: len(whole) * share // 100] for share in (1, 5, 20, 50, 80, 99)}
    found |= {f"archive cut at {share} %": archive[: len(archive) * share // 100] for share in (1, 5, 20, 50, 80, 99)}
    return found


def zipped(entries: dict[str, bytes]) -> bytes:
    """Return a compressed archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def states(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """Return what is saved well, and is no state of the network."""
    first = next(iter(state))
    floats = [name for name, value in state.items() if value.is_floating_point()]
    broken: dict[str, object] = {
        "nothing": {},
        "None": None,
        "a list": [1, 2],
        "a tensor alone": torch.zeros(3),
        "numbers": dict.fromkeys(state, 1.0),
        "texts": dict.fromkeys(state, "x"),
        "keys that are numbers": dict(enumerate(state.values())),
        "one tensor": {first: state[first]},
        "other names": {f"x{number}": value for number, value in enumerate(state.values())},
        "sizes of zero": {name: value[:0] if value.dim() else value for name, value in state.items()},
        "one dimension more": {name: value[None] for name, value in state.items()},
        "flat": {name: value.flatten() for name, value in state.items()},
        "complex": {name: value.to(torch.complex64) for name, value in state.items()},
        "truth values": {name: value.bool() for name, value in state.items()},
        "whole numbers": {name: value.long() for name, value in state.items()},
        "in one another": {"state_dict": {"state_dict": {"state_dict": {"a": 1}}}},
        "sparse": state | {floats[0]: state[floats[0]].to_sparse()},
    }
    for value in (float("nan"), float("inf"), -float("inf")):
        for name in floats[:: max(1, len(floats) // 6)]:
            broken[f"{value} in {name}"] = state | {name: torch.full_like(state[name], value)}
    return broken


def commands(folder: Path) -> Iterator[Case]:
    """Yield the files once more, given to a command."""
    (folder / "supports" / "one").mkdir(parents=True)
    for place in (folder / "query.png", folder / "supports" / "one" / "a.png"):
        Image.new("RGB", (40, 40), (200, 30, 30)).save(place)
    given = ["explain", str(folder / "query.png"), "--support", str(folder / "supports"), "--encoder", "conv4net"]
    given += ["--out", str(folder / "page.html"), "--checkpoint"]
    for path in sorted(folder.glob("*"))[::3]:
        if path.is_file() and not path.name.startswith(("good", "query")):
            yield f"explain --checkpoint {path.name}", partial(answered, run, *given, str(path)), "refused"
    for path in ("/dev/zero", str(folder), "", "a\0b", "x" * 5000):
        yield f"explain --checkpoint {path[:20]!r}", partial(answered, run, *given, path), "refused"
