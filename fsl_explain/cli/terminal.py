"""What commands say in the terminal: the texts of a user stand there as they are, never as markup or commands to it."""

import sys

from fsl_explain.printable import shown

__all__ = ["note", "say", "shown"]


def say(text: str, *, lines: bool = False) -> None:
    """Print a text, by default one line on stdout, without reading markup in it; ``lines`` lets it have several."""
    print(shown(text, keep="\n" if lines else ""))


def note(sentence: str) -> None:
    """Say something on stderr."""
    print(shown(sentence), file=sys.stderr)
