"""Finished parts on disk: one safetensors file each, whose header says what it was made of, and for which run."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fsl_explain.engine import CONTENTS, Part, Result, Say
from fsl_explain.files import written_aside

MANIFEST = "part"
OTHERS = re.compile(r"[^a-zA-Z0-9.+_-]")  # characters that a file's name does without


@dataclass(frozen=True)
class Shards:
    """The finished parts of one run in a folder.

    A shard is used for the very part and run it was made for, and where its tensors have the hash that its header
    states; any other one is told of in a sentence, and is written anew.
    """

    folder: Path
    run: str
    say: Say

    def load(self, part: Part) -> dict[str, Tensor] | None:
        """Return the result of a part, or None where there is none that can be used."""
        path = self.path_of(part)
        if not path.exists():
            return None
        tensors, fault = self._read(path, part)
        if fault:
            self.say(f"The finished part {path.name} {fault}; it is measured again.")
        return tensors

    def save(self, part: Part, result: Result) -> None:
        """Write the result of a part; it is there whole or not at all."""
        tensors = {name: value.contiguous() for name, value in result.items()}
        manifest = {"run": self.run, "made_of": _plain(part), "order": list(tensors), "sha256": _digest(tensors)}
        with written_aside(self.path_of(part)) as aside:
            save_file(tensors, aside, metadata={MANIFEST: json.dumps(manifest)})

    def path_of(self, part: Part) -> Path:
        """Return the file of a part; a name with other than plain characters ends in its hash, behind a ``~``."""
        plain = OTHERS.sub("_", part.name)
        if plain != part.name:  # no plain name holds a ~, so that two parts never share a file
            plain += f"~{hashlib.sha256(part.name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        return self.folder / f"{plain}.safetensors"

    def _read(self, path: Path, part: Part) -> tuple[dict[str, Tensor] | None, str]:
        """Return the tensors of a file, or what is wrong with it."""
        try:
            with safe_open(path, "pt") as file:
                manifest = json.loads(file.metadata()[MANIFEST])
                found = {name: file.get_tensor(name) for name in manifest["order"]}
            run, made_of, written = (manifest[key] for key in ("run", "made_of", "sha256"))
        except (SafetensorError, ValueError, LookupError, OSError, TypeError):
            return None, "is damaged"
        if run != self.run:
            return None, f"is of another run{_differing(run, self.run)}"
        if made_of != _plain(part):
            others = {key for key in made_of if made_of[key] != _plain(part).get(key)}
            return None, "is of other images or annotations" if others == {CONTENTS} else "is of another part"
        return (found, "") if written == _digest(found) else (None, "is damaged")


def left_to_make(
    shards: Shards | None, parts: Iterable[Part], left: list[tuple[int, Part]]
) -> Iterator[tuple[int, Result]]:
    """Yield the parts that are finished with their positions, and put the others, with theirs, into ``left``."""
    for position, part in enumerate(parts):
        result = None if shards is None else shards.load(part)
        if result is None:
            left.append((position, part))
        else:
            yield position, result


def _differing(one: Any, other: str) -> str:
    """Say what differs of two runs whose text is ``name=hash name=hash …``; empty for other texts."""
    parts = [dict(word.split("=", 1) for word in str(text).split() if "=" in word) for text in (one, other)]
    names = [name for name in parts[1] if name in parts[0] and parts[0][name] != parts[1][name]]
    return f", of other {' and '.join(names)}" if names else ""


def _plain(part: Part) -> dict[str, Any]:
    """Return what a part is made of as a file would give it back."""
    plain: dict[str, Any] = json.loads(json.dumps({"name": part.name, **part.made_of}))
    return plain


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()
