"""Why did these images come back for a text? The first of them, each explained with the text as its reference."""

from dataclasses import dataclass

from episodes import read_image
from episodes.errors import Mistake
from retrieval_explain.decisions.text_queries import TextRetrieved, explain_images
from retrieval_explain.inspection.inspected import Pair, Read, Shown, shown_neighbors


@dataclass(frozen=True)
class TextInspection:
    """What came back for a text, and why.

    ``retrieved`` are the text and the images that came back, ``gallery`` those that are shown small, ``matches`` the
    first ones, each explained with the text as its reference: its own cells add up to the similarity.
    """

    retrieved: TextRetrieved
    gallery: tuple[Shown, ...]
    matches: tuple[Pair, ...]


def inspect_text(
    retrieved: TextRetrieved, *, explained: int = 5, gallery: int = 20, read: Read = read_image
) -> TextInspection:
    """Explain the first images that came back for a text, each by its own cells.

    ``explained`` images get maps, of the ``gallery`` that are shown; ``read`` gives the photograph of a path. They are
    embedded again for it; each says how far that agrees with what is stored. One that cannot be read has a ``fault``
    and no map.

    Raises: ``ValueError`` for fewer than one image to show.
    """
    if explained < 1 or gallery < 1:
        raise Mistake(f"expected at least one neighbor to show, but got {min(explained, gallery)}.")
    shown = shown_neighbors(retrieved.bank, retrieved.neighbors, gallery, read)
    readable = [(one, one.photograph) for one in shown[:explained] if one.photograph is not None]
    if not readable:
        return TextInspection(retrieved, shown, ())
    found = explain_images(retrieved, [photograph for _, photograph in readable])
    return TextInspection(retrieved, shown, tuple(Pair(one, found[at]) for at, (one, _) in enumerate(readable)))
