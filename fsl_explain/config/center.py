"""The settings of a center: on the mean of which embeddings are all of them centered?"""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from episodes.errors import MissingFile, Mistake
from fsl_explain.config.strict import LocalPath, Settings

SUPPORTS, BANK = "supports", "bank"


class CenterConfig(Settings):
    """The mean that embeddings are centered on, which changes scores and decisions."""

    kind: Literal["supports", "bank"] = Field(
        "bank", description="supports: those of all decisions, where they have the same ones; bank: the images of one."
    )
    directory: LocalPath | None = Field(None, description="The folder of the bank; None: of supports.")

    @model_validator(mode="after")
    def _has_the_folder_of_a_bank_alone(self) -> "CenterConfig":
        if (self.kind == BANK) != (self.directory is not None):
            needs = "needs the directory of one" if self.kind == BANK else "has no directory"
            raise Mistake(f"a center of kind {self.kind!r} {needs}; write kind = 'bank' and directory = 'birds.bank'")
        return self

    def check_there(self) -> None:
        """Raise ``FileNotFoundError`` for a bank that is not there."""
        if self.directory is not None and not self.directory.is_dir():
            raise MissingFile(
                f"expected {SUPPORTS} or the folder of a bank to center on, but {self.directory} is no folder; check "
                "the path, or build a bank with retrieval-explain build."
            )


CENTER = Field(None, description="The mean that embeddings are centered on; None: they are as the encoder makes them.")


def named_center(name: str | None) -> CenterConfig | None:
    """Return the settings that ``--center`` stands for: ``supports``, or the folder of a bank."""
    if name is None:
        return None
    return CenterConfig(kind=SUPPORTS) if name == SUPPORTS else CenterConfig(kind=BANK, directory=Path(name))
