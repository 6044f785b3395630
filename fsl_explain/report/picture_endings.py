"""The kinds of pictures that a figure can be written as."""

from pathlib import Path

from episodes.errors import Mistake

SUFFIXES = (".png", ".pdf", ".svg")


def check_ending(path: Path) -> None:
    """Raise ``ValueError`` for a picture of another kind than PNG, PDF and SVG."""
    if path.suffix not in SUFFIXES:
        raise Mistake(f"expected a figure that ends in {', '.join(SUFFIXES)}, but got {path}; rename it.")
