"""What is known of an official release: how its files name the parameters, and what its weights expect.

A release is data. Its marks say how its files are recognized, its rules turn official names into ours or say why a
tensor is not needed, and its settings are options of the named network and of its images, and its pooling.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PARAMETER = "(weight|bias|running_mean|running_var|num_batches_tracked)"
TRUNK = r"((?:conv1|bn1|layer[1-4])\..+)"


@dataclass(frozen=True)
class Rule:
    """One kind of official name: ``ours`` is our name for it, with groups, or None for a tensor that is not needed.

    ``reason`` says why it is not needed; beside a name of ours it is for networks without that parameter.
    """

    pattern: str
    ours: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Release:
    """A layout of official checkpoints, and the named networks that it fits.

    ``containers`` are the keys of the file that may hold the state dict, "" for the file itself. A file is recognized
    where every mark is one of its names and none is in ``never``. ``plain`` names may be those of our own networks,
    or miss what tells releases apart. With ``rows`` its statistics of channels may be of shape (1, channels).
    """

    name: str
    networks: tuple[str, ...]
    rules: tuple[Rule, ...]
    marks: tuple[str, ...]
    never: tuple[str, ...] = ()
    containers: tuple[str, ...] = ("",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    rows: bool = False

    def rule_for(self, name: str) -> Rule | None:
        """Return the first rule that knows an official name."""
        return next((rule for rule in self.rules if re.fullmatch(rule.pattern, name)), None)

    def recognizes(self, names: Iterable[str]) -> bool:
        """Whether a state dict with these names has this layout."""
        known = list(names)

        def found(pattern: str) -> bool:
            return any(re.fullmatch(pattern, name) for name in known)

        return all(map(found, self.marks)) and not any(map(found, self.never))


OURS = Release("fsl-explain", (), (Rule("(.+)", r"\1"),), marks=(), containers=("", "state_dict"), plain=True)
"""The names of our own networks."""
