"""Checkpoints of other publishers under the names of a library, with a report under their own names."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from fsl_explain.backbones.weights.loading import Checkpoint, LoadingReport

Rename = Callable[[Mapping[str, Tensor], nn.Module], Mapping[str, Tensor]]
CLASSIFIER = "classifier"
NOT_NEEDED = "not of the library's network"


@dataclass(frozen=True)
class Renamed:
    """A checkpoint whose tensors have the names of a network, what they were called, and what was left out.

    ``resampled`` are tensors whose shape was changed to that of the network.
    """

    checkpoint: Checkpoint
    names: Mapping[str, str]
    dropped: Mapping[str, str]
    resampled: tuple[str, ...]

    def told(self, report: LoadingReport) -> LoadingReport:
        """Return a report of loading in the file's own names, with the classifiers that were left out."""
        loaded = {ours: self.names.get(name, name) for ours, name in report.loaded.items()}
        dropped = {self.names.get(name, name): why for name, why in report.dropped.items()}
        changed = [f"{name} interpolated" for name in self.resampled]
        taken = ", ".join(filter(None, (report.taken, *changed)))
        return replace(report, loaded=loaded, dropped={**dropped, **self.dropped}, taken=taken)


def renamed(checkpoint: Checkpoint, network: nn.Module, rename: Rename, classifiers: Collection[str] = ()) -> Renamed:
    """Give the tensors of a file of no release a library's names, and leave out those that begin as ``classifiers``.

    What all names begin with, such as ``module.``, is kept.
    """
    known = Renamed(checkpoint, {}, {}, ())
    for where, state in checkpoint.parts.items():
        known = _renamed_part(known, where, state, network, rename, tuple(classifiers))
    return known


def _renamed_part(
    known: Renamed,
    where: str,
    state: Mapping[str, Tensor],
    network: nn.Module,
    rename: Rename,
    classifiers: tuple[str, ...],
) -> Renamed:
    prefix = _prefix(state, network)
    bare = {name.removeprefix(prefix): value for name, value in state.items()}
    before = {_place(value): name for name, value in bare.items()}
    after = rename(bare, network)
    official = {name: before.get(_place(value), name) for name, value in after.items()}
    kept = [name for name in after if not name.startswith(classifiers)]
    gone = bare.keys() - after.keys() - set(official.values())
    resampled = [name for name in kept if name in bare and bare[name].numel() != after[name].numel()]
    dropped = {official[name]: CLASSIFIER for name in after if name not in kept} | dict.fromkeys(gone, NOT_NEEDED)
    parts = {**known.checkpoint.parts, where: {prefix + name: after[name] for name in kept}}
    return Renamed(
        replace(known.checkpoint, parts=parts),
        {**known.names, **{prefix + name: prefix + official[name] for name in kept}},
        {**known.dropped, **{prefix + name: why for name, why in sorted(dropped.items())}},
        (*known.resampled, *resampled),
    )


def _prefix(state: Mapping[str, Tensor], network: nn.Module) -> str:
    """Return what all names begin with, up to a dot; it ends before the name of a part of the network."""
    own = {name for name, _ in network.named_children()}
    names, prefix = list(state), ""
    while names:
        first = {name.split(".", maxsplit=1)[0] for name in names}
        if len(first) != 1 or first & own or any("." not in name for name in names):
            break
        prefix += f"{first.pop()}."
        names = [name.split(".", maxsplit=1)[1] for name in names]
    return prefix


def _place(value: Tensor) -> tuple[int, int, int]:
    return value.untyped_storage().data_ptr(), int(value.storage_offset()), value.numel()
