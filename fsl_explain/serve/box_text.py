"""A box as it stands in an address of the page: x1,y1,x2,y2 in pixels of the upright photograph."""

from episodes.box_formats import Box
from episodes.errors import Mistake


def box_from_text(text: str) -> Box | None:
    """Return a box, None for no text. Raises: ``ValueError`` for anything else."""
    if not text:
        return None
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise Mistake(f"expected a box as x1,y1,x2,y2 in pixels, but got {text!r:.80}.") from None
    return left, top, right, bottom


def box_as_text(box: Box | None) -> dict[str, str]:
    """Return the part of an address that names a box; nothing for none."""
    return {} if box is None else {"box": ",".join(f"{edge:g}" for edge in box)}
