"""The state of an unfinished training on disk: whole or not there, and for a training of the same settings alone."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from episodes.errors import Mistake
from fsl_explain.config import TrainingConfig
from fsl_explain.config.strict import without_places
from fsl_explain.files import written_aside

PLACES_AND_MACHINE = {"run", "output", "test"}


def recorded_settings(config: TrainingConfig) -> dict[str, Any]:
    """Return the settings that the weights depend on, as plain values; of a path its last name alone."""
    settings = config.model_dump(mode="json", exclude=PLACES_AND_MACHINE) | {"precision": config.run.precision}
    encoder = settings["encoder"]
    del encoder["seen_classes"]  # of the test alone
    if encoder["checkpoint"] is not None:
        encoder["checkpoint"] = Path(encoder["checkpoint"]).name
    return settings | {"data": without_places(settings["data"])}


@dataclass(frozen=True)
class Unfinished:
    """Where a training with these settings keeps its state: beside its output, with the ending ``.unfinished``.

    ``path`` is the file of the state, ``settings`` a hash of what the training depends on, with which a state has to
    agree.
    """

    path: Path
    settings: str

    @classmethod
    def of(cls, config: TrainingConfig, made_from: Mapping[str, Any]) -> "Unfinished":
        """Return the place for a training of ``config``.

        ``made_from`` says in plain values, such as hashes, which images and weights it began with.
        """
        text = json.dumps({"config": recorded_settings(config), "made_from": dict(made_from)}, sort_keys=True)
        return cls(config.output.with_suffix(".unfinished"), hashlib.sha256(text.encode()).hexdigest())

    def load(self) -> dict[str, Any]:
        """Return the state that was saved.

        Raises: ``ValueError`` for a file that is not there or damaged, or one of other settings.
        """
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file can fail in any way
            raise Mistake(
                f"expected an unfinished training, but {self.path} cannot be read; delete it and start again."
            ) from error
        if not isinstance(state, dict) or state.pop("settings", None) != self.settings:
            raise Mistake(
                f"expected an unfinished training of these settings and images, but {self.path} is of others; "
                "give the settings back, name another output, or delete it."
            )
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the state aside and rename it, so that a kill at any instant leaves the old one or the new one."""
        with written_aside(self.path) as aside, aside.open("wb") as file:
            torch.save(dict(state) | {"settings": self.settings}, file)

    def remove(self) -> None:
        """Remove the state once the weights stand; none is fine."""
        self.path.unlink(missing_ok=True)
