"""The name under which a bank stores its similarity: what a similarity computes is code, and no part of a bank."""

from episodes.errors import Mistake, UnknownName
from fsl_explain.similarities import SIMILARITIES, Similarity, similarity_name


def words_of(similarity: str | Similarity) -> str:
    """Name a similarity, or else its kind."""
    return similarity_name(similarity) or type(similarity).__name__


def storable_name(similarity: str | Similarity) -> str:
    """Return the name of a similarity. Raises: ``ValueError`` for one without a name, which is not found again."""
    name = similarity_name(similarity)
    if name is None:
        raise Mistake(
            f"expected a similarity with a name for a bank on disk, but this {type(similarity).__name__} has none; "
            "give it one, SIMILARITIES['its-name'] = …, or store the bank with another and give this one to load."
        )
    return name


def recorded_name(name: str, directory: str) -> str:
    """Return the name that a bank has recorded. Raises: ``LookupError`` where nothing has that name here."""
    if name not in SIMILARITIES:
        raise UnknownName(
            f"the bank {directory} was built with the similarity {name!r}, but here are only "
            f"{', '.join(SIMILARITIES)}; register it in SIMILARITIES, or give load the similarity to use."
        )
    return name
