"""What is searched for on the command line: an image or a text, and the options that belong to images."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from episodes.errors import Mistake
from fsl_explain.cli.manners import check_input


def check_asked(query: Path | None, text: Sequence[str], of_images: Mapping[str, object]) -> None:
    """Refuse both or none of an image and a text, and options of images beside a text.

    Raises: ``ValueError``; ``FileNotFoundError`` for an image that is not there.
    """
    if (query is None) == (not text):
        raise Mistake(
            f"expected an image or --text to search for, but got {'none of them' if query is None else 'both'}; "
            "give one of the two."
        )
    if query is not None:
        check_input(query, "an image to search for")
        return
    for option in [option for option, given in of_images.items() if given]:
        raise Mistake(f"{option} belongs to the search for an image, but a text is searched for; drop it.")


def check_first(rerank: str | None, first: int | None, k: int = 1) -> None:
    """Refuse a number of neighbors to rank again where none are, or fewer than are listed. Raises: ``ValueError``."""
    if first is not None and rerank is None:
        raise Mistake("--first belongs to --rerank, but none is given; add --rerank max-sim or drop it.")
    if first is not None and first < k:
        raise Mistake(f"expected --first to be at least -k, which is {k}, but got {first}; raise it or lower -k.")


def check_not_of_votes(rerank: str | None, of_votes: Mapping[str, object]) -> None:
    """Refuse options of the vote, and finer maps, beside neighbors that are ranked again. Raises: ``ValueError``."""
    for option in [option for option, given in of_votes.items() if given and rerank is not None]:
        raise Mistake(f"{option} does not go with --rerank, which explains an order by cells; drop it.")
