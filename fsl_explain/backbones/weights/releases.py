"""Which official release a checkpoint is of, and its tensors under our names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from episodes.errors import Mistake
from episodes.naming import unknown_name
from fsl_explain.backbones.weights.few_shot_releases import FEW_SHOT_RELEASES
from fsl_explain.backbones.weights.key_maps import OURS, Release
from fsl_explain.backbones.weights.representation_releases import REPRESENTATION_RELEASES

RELEASES = {release.name: release for release in (OURS, *REPRESENTATION_RELEASES, *FEW_SHOT_RELEASES)}
CONTAINERS = tuple(dict.fromkeys(key for release in RELEASES.values() for key in release.containers))

States = Mapping[str, Mapping[str, Tensor]]
"""The state dicts of a file, by the key that holds them; "" is the file itself."""


@dataclass(frozen=True)
class Translation:
    """The tensors of a checkpoint under our names, and what became of the others."""

    state: dict[str, Tensor]
    sources: dict[str, str]  # our name → the official one
    dropped: dict[str, str]  # official name → why it is not needed
    unexpected: list[str]
    taken: str = ""  # which part of the file, for people


def state_dicts(content: object) -> States:
    """Return the state dicts that a checkpoint's content holds, directly or below a container's key."""
    if not isinstance(content, Mapping):
        return {}
    found = {key: content if key == "" else content.get(key) for key in CONTAINERS}
    return {key: state for key, state in found.items() if _is_state(state)}


def _is_state(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def find_release(states: States, network: str, path: Path) -> Release:
    """Return the release that a file for ``network`` is of, or ours where its names are of no release.

    Raises: ``ValueError`` where several releases that differ in what they expect have the same names, and where the
    names are of a release for other networks.
    """
    known = any(network in release.networks for release in RELEASES.values())
    recognized = [release for release in RELEASES.values() if known and _holds(release, states)]
    fitting = [release for release in recognized if network in release.networks]
    if path.suffix == ".safetensors":
        fitting = [release for release in fitting if not release.plain]
    elif any(release.plain for release in fitting) and _may_be_ours(states):
        fitting.append(OURS)
    if len({repr(sorted(release.settings.items())) for release in fitting}) > 1:
        names = ", ".join(release.name for release in fitting)
        raise Mistake(
            f"expected a checkpoint of one release, but the names in {path} are those of {names}, which differ in "
            f"activation, padding or images; say which it is with the release, for example {fitting[0].name}."
        )
    strangers = [release for release in recognized if not release.plain]
    if not fitting and strangers and path.suffix != ".safetensors":  # a bare one may be ours, which loading will see
        raise Mistake(
            f"expected a checkpoint for {network}, but {path} is one of {strangers[0].name}, which is for "
            f"{' or '.join(strangers[0].networks)}; choose that encoder."
        )
    return fitting[0] if fitting else OURS


def named_release(name: str, network: str) -> Release:
    """Return a release by its name.

    Raises: ``LookupError`` for an unknown one, ``ValueError`` for one that does not fit the network.
    """
    if name not in RELEASES:
        raise unknown_name("release", name, RELEASES)
    release = RELEASES[name]
    if release is not OURS and network not in release.networks:
        raise Mistake(
            f"expected a release for {network}, but {name} is for {' or '.join(release.networks)}; choose another "
            "release or encoder."
        )
    return release


def state_of(release: Release, states: States, path: Path) -> Mapping[str, Tensor]:
    """Return the state dict where a release keeps it. Raises: ``ValueError`` where the file has none there."""
    for container in release.containers:
        if container in states:
            return states[container]
    wanted = " or ".join(repr(container) if container else "the file itself" for container in release.containers)
    raise Mistake(
        f"expected a state dict (parameter name → tensor) in {path} as {release.name} keeps it, in {wanted}, but "
        "there is none; check the file and the release."
    )


def translate(release: Release, state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> Translation:
    """Give the tensors of a release our names; ``expected`` are those that the network has.

    Raises: ``ValueError`` where tensors that should be copies of each other differ.
    """
    found = Translation({}, {}, {}, [])
    for official, tensor in state.items():
        rule = release.rule_for(official)
        if rule is None:
            found.unexpected.append(official)
            continue
        ours = None if rule.ours is None else re.sub(f"^(?:{rule.pattern})$", rule.ours, official)
        if ours is None or (rule.reason and ours not in expected):
            found.dropped[official] = rule.reason
        elif ours in found.state:
            found.dropped[official] = f"duplicate of {found.sources[ours]}"
            _check_equal({name: state[name] for name in (found.sources[ours], official)}, path)
        else:
            found.state[ours], found.sources[ours] = tensor, official
    if release.rows:
        found.state.update({name: _of_channels(tensor, expected.get(name)) for name, tensor in found.state.items()})
    return found


def _of_channels(tensor: Tensor, expected: Tensor | None) -> Tensor:
    is_row = expected is not None and expected.dim() == 1 and tensor.shape == (1, *expected.shape)
    return tensor.squeeze(0) if is_row else tensor


def _check_equal(copies: Mapping[str, Tensor], path: Path) -> None:
    first, second = copies.values()
    if first.shape != second.shape or not torch.equal(first, second):
        raise Mistake(
            f"expected {' and '.join(copies)} of {path} to be copies of one tensor, but they differ; the file is "
            "damaged or of another release."
        )


def _holds(release: Release, states: States) -> bool:
    containers = [container for container in release.containers if container in states]
    return release is not OURS and any(release.recognizes(states[container]) for container in containers)


def _may_be_ours(states: States) -> bool:
    """Whether names that a release has without a prefix may come from a network of ours, which counts its batches."""
    state = next((states[container] for container in OURS.containers if container in states), {})
    counted = any(name.endswith("num_batches_tracked") for name in state)
    return counted and not any(name.startswith("emb_func.") for name in state)
