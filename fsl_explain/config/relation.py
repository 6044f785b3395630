"""A relation module among the settings: a similarity whose weights are a file of their own."""

from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from episodes.errors import Mistake
from fsl_explain.config.names import RELATION


@runtime_checkable
class Compares(Protocol):
    """Settings that name a similarity."""

    similarity: str
    relation_checkpoint: Path | None


Settings = TypeVar("Settings", bound=Compares)


def has_its_weights(settings: Settings) -> Settings:
    """Return settings of the similarity ``relation`` with a checkpoint, or of another without.

    Raises: ``ValueError`` for either without the other.
    """
    if (settings.similarity == RELATION) != (settings.relation_checkpoint is not None):
        raise Mistake(
            f"the similarity {RELATION!r} and relation_checkpoint, its weights, belong together, but similarity is "
            f"{settings.similarity!r} and relation_checkpoint {settings.relation_checkpoint}"
        )
    return settings
