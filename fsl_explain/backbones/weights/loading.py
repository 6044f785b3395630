"""Checkpoints, ours and official ones, loaded into a network with a report of every tensor."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from episodes.errors import Mistake
from fsl_explain.backbones.networks.resnet_trunks import STEMS
from fsl_explain.backbones.weights.checkpoint import check_finite, listed, not_a_state, read_content, read_metadata
from fsl_explain.backbones.weights.key_maps import OURS, Release
from fsl_explain.backbones.weights.ordinary import States, chosen, is_behind, parts_of
from fsl_explain.backbones.weights.releases import (
    Translation,
    find_release,
    named_release,
    state_dicts,
    state_of,
    translate,
)
from fsl_explain.backbones.weights.trained_on import TRAINED_ON, TrainedOn, is_record, read_record
from fsl_explain.heads import POOLINGS

MANIFEST = "fsl_explain"  # the key of a converted file's metadata
COUNTER = "num_batches_tracked"
LARGEST = 4096  # of what a manifest may ask for


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST


def _are_channels(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))


SETTINGS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("size", "channels", "depth", "widen_factor", "block_size", "classes"), _is_count),
    **dict.fromkeys(("negative_slope", "drop_rate"), _is_number),
    **dict.fromkeys(("mean", "std"), _are_channels),
    "pooled_blocks": lambda value: type(value) is int and 0 <= value <= 4,
    "padding": lambda value: type(value) is int and 0 <= value <= 4,
    "widths": lambda value: isinstance(value, list) and len(value) <= 8 and all(map(_is_count, value)),
    "stem": lambda value: isinstance(value, str) and value in STEMS,
    "pooling": lambda value: isinstance(value, str) and value in POOLINGS,
}
"""The options that a manifest may set, and what is a sane value of each; which weights to load is never among them."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened file of weights: the release it is of, its tensors under official names, what it wants of a network.

    ``settings`` are options of the named network and of its images, and its pooling. ``beside`` names what else the
    file holds. ``parts`` are all state dicts of a file of no release, ``part`` the name of the one that is wanted.
    """

    path: Path
    release: Release
    state: Mapping[str, Tensor]
    settings: Mapping[str, Any]
    beside: tuple[str, ...] = ()
    parts: States = field(default_factory=dict)
    part: str | None = None


@dataclass(frozen=True)
class LoadingReport:
    """What became of every tensor of a checkpoint.

    ``loaded`` gives the official name of each of our tensors, ``dropped`` says of the others why they were not needed,
    and ``fresh`` are counters of batches that the file lacks. ``settings`` are the options that the weights expect.
    """

    path: Path
    release: str
    loaded: Mapping[str, str]
    dropped: Mapping[str, str]
    fresh: tuple[str, ...]
    beside: tuple[str, ...]
    settings: Mapping[str, Any]
    taken: str = ""  # which part of the file, for people
    unfilled: tuple[str, ...] = ()  # behind the explained layer, and not in the file in their shape

    def summary(self) -> tuple[tuple[str, str, str], ...]:
        """Return one row for each fate: what became of the tensors, how many they are, and the first of them."""
        fates = Counter(_without_names(reason) for reason in self.dropped.values())
        first = {_without_names(reason): name for name, reason in reversed(list(self.dropped.items()))}
        rows = [("loaded", str(len(self.loaded)), next(iter(self.loaded.values()), ""))]
        rows += [(f"dropped: {fate}", str(count), first[fate]) for fate, count in fates.items()]
        if self.unfilled:
            rows.append(("not in the file: behind the explained layer", str(len(self.unfilled)), self.unfilled[0]))
        if self.fresh:
            rows.append(("not in the file: counters of batches", str(len(self.fresh)), self.fresh[0]))
        if self.beside:
            rows.append(("beside the weights", str(len(self.beside)), ", ".join(self.beside)))
        return tuple(rows)


def open_checkpoint(path: Path, network: str, release: str | None = None, *, part: str | None = None) -> Checkpoint:
    """Open a file of weights for a named network; which release it is of is recognized unless given.

    A file of no release may hold its tensors below any keys and any prefix; ``part`` names them where several fit.

    Raises: ``FileNotFoundError``; ``ValueError`` for a file that is damaged, wants to run code, was converted for
    another network, or whose names fit several releases that differ; ``LookupError`` for an unknown release.
    """
    content = read_content(path)
    manifest = read_manifest(path)
    if manifest is not None:
        return _converted(path, content, network, manifest)
    states = state_dicts(content)
    parts = parts_of(content)
    if not parts:
        raise not_a_state(path, content)
    found = find_release(states, network, path) if release is None else named_release(release, network)
    if found is OURS:
        holders = {name.split(".")[0] for name in parts if name}
        keys = (
            []
            if not isinstance(content, Mapping)
            else [key for key, value in content.items() if not isinstance(value, Tensor)]
        )
        beside = tuple(str(key) for key in keys if key not in holders)
        return Checkpoint(path, OURS, next(iter(parts.values())), OURS.settings, beside, parts, part)
    state = state_of(found, states, path)
    keys = list(content) if isinstance(content, Mapping) and content.keys() != state.keys() else []
    beside = tuple(str(key) for key in keys if key not in found.containers)
    return Checkpoint(path, found, state, found.settings, beside)


def load_weights(
    network: nn.Module, source: Path | Checkpoint, unused: str | None = None, *, behind: Collection[str] = ()
) -> LoadingReport:
    """Load a checkpoint into ``network``; every tensor must be of use but those of ours that begin with ``unused``.

    Of a file of no release what is not needed is left out and reported: what stands outside of the prefix of its
    network, and classifiers. ``behind`` names the network's own tensors that are not needed.

    Raises: ``ValueError`` naming the missing and unexpected tensors, those whose shapes differ, or those that hold NaN
    or infinity; nothing is loaded then.
    """
    checkpoint = open_checkpoint(source, "") if isinstance(source, Path) else source
    state, found = fitting(network, checkpoint, unused, behind=behind)
    check_finite(state, str(checkpoint.path))
    network.load_state_dict(state, strict=False)
    absent = [name for name in network.state_dict() if name not in state]
    return LoadingReport(
        checkpoint.path,
        checkpoint.release.name,
        {name: found.sources[name] for name in state},
        found.dropped | {found.sources[name]: "head that is not used" for name in found.state if name not in state},
        tuple(name for name in absent if name not in behind),
        checkpoint.beside,
        checkpoint.settings,
        found.taken,
        tuple(name for name in absent if name in behind),
    )


def fitting(
    network: nn.Module, checkpoint: Checkpoint, unused: str | None = None, *, behind: Collection[str] = ()
) -> tuple[dict[str, Tensor], Translation]:
    """Return the tensors of a checkpoint for ``network``, whose own may be without content, and the whole translation.

    Raises: ``ValueError`` naming the missing and unexpected tensors, or those whose shapes differ.
    """
    expected = network.state_dict()
    if checkpoint.parts:
        found = _ordinary(checkpoint, expected, unused, behind)
    else:
        found = translate(checkpoint.release, checkpoint.state, expected, checkpoint.path)
    state = {name: value for name, value in found.state.items() if unused is None or not name.startswith(unused)}
    _check_names(state, found, network, checkpoint, behind)
    _check_shapes(state, found.sources, expected, checkpoint.path)
    return state, found


def _ordinary(
    checkpoint: Checkpoint, expected: Mapping[str, Tensor], unused: str | None, behind: Collection[str]
) -> Translation:
    """Give the tensors of a file of no release our names: without their prefix, and without what is not needed."""
    needed = [name for name in expected if name not in behind]
    choice = chosen(checkpoint.parts, expected, needed, checkpoint.path, checkpoint.part)
    found = Translation({}, {}, dict.fromkeys(choice.outside, "not of the network that was taken"), [], choice.words)
    for name, tensor in choice.state.items():
        fits = name in expected and expected[name].shape == tensor.shape
        of_a_head = unused is not None and name.startswith(unused)
        if not fits and not of_a_head and is_behind(name, choice.state, expected, needed):
            found.dropped[choice.sources[name]] = "behind the explained layer"
        else:
            found.state[name], found.sources[name] = tensor, choice.sources[name]
    return found


def _check_names(
    state: Mapping[str, Tensor],
    found: Translation,
    network: nn.Module,
    checkpoint: Checkpoint,
    behind: Collection[str],
) -> None:
    expected = network.state_dict()
    absent = [name for name in expected if name not in state and name not in behind]
    missing = [name for name in absent if not name.endswith(COUNTER)]
    unexpected = [*(found.sources[name] for name in state if name not in expected), *found.unexpected]
    if missing or unexpected:
        unexpected += found.dropped  # what would be left out of a file that fits
        map_ = "" if checkpoint.release is OURS else f" by the key map of {checkpoint.release.name}"
        raise Mistake(
            f"the checkpoint {checkpoint.path} does not fit {type(network).__name__}{map_}: "
            f"{listed('missing', missing)}, {listed('unexpected', unexpected)}; check the encoder's name and "
            "architecture."
        )


def _check_shapes(
    state: Mapping[str, Tensor], sources: Mapping[str, str], expected: Mapping[str, Tensor], path: Path
) -> None:
    for name, value in state.items():
        if expected[name].is_floating_point() and not value.is_floating_point():
            raise Mistake(
                f"expected {name} of floating-point numbers, but {path} holds {value.dtype}; "
                "use a checkpoint of this network's weights."
            )
        if not expected[name].is_floating_point() and not _is_kept(value, expected[name].dtype):
            raise Mistake(
                f"expected {name} of {expected[name].dtype}, but {path} holds other numbers, of {value.dtype}; "
                "use a checkpoint of this network's weights."
            )
        if value.shape != expected[name].shape:
            official = "" if sources[name] == name else f" ({sources[name]})"
            raise Mistake(
                f"expected {name}{official} of shape {tuple(expected[name].shape)}, but {path} holds "
                f"{tuple(value.shape)}; check the encoder's architecture."
            )


def _is_kept(value: Tensor, kind: torch.dtype) -> bool:
    """Return whether whole numbers and truth values stay what they are in another type."""
    return not value.is_complex() and torch.equal(value.to(kind).to(value.dtype), value)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return what a converted file says of itself, or None for any other file.

    Raises: ``ValueError`` where it says nothing that can be read, or asks for options that no network of ours takes.
    """
    text = read_metadata(path).get(MANIFEST)
    if text is None:
        return None
    try:
        manifest = json.loads(text)
        known = isinstance(manifest["network"], str) and _are_settings(manifest["settings"])
        if known and is_record(manifest.get(TRAINED_ON, [])):
            return dict(manifest)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Mistake(f"expected the manifest of a converted checkpoint in {path}, but it is damaged; convert it again.")


def trained_on(path: Path | None) -> tuple[TrainedOn, ...]:
    """Return the classes whose labels weights were trained with, as far as their file says it. Raises: as above."""
    manifest = None if path is None else read_manifest(path)
    return () if manifest is None else read_record(manifest)


def _are_settings(settings: Any) -> bool:
    return isinstance(settings, dict) and all(
        name in SETTINGS and SETTINGS[name](value) for name, value in settings.items()
    )


def _converted(path: Path, content: Any, network: str, manifest: Mapping[str, Any]) -> Checkpoint:
    if network and manifest["network"] != network:
        raise Mistake(
            f"expected a checkpoint for {network}, but {path} was converted for {manifest['network']}; choose that "
            "encoder."
        )
    return Checkpoint(path, OURS, content, manifest["settings"])


def _without_names(reason: str) -> str:
    return "duplicate" if reason.startswith("duplicate of ") else reason
