"""The text of a user as it may be printed: what a terminal would obey is escaped."""

import unicodedata

HIDDEN = ("Cc", "Cs", "Zl", "Zp")  # control characters, halves of characters, separators of lines and paragraphs
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
"""Characters that turn the direction of the text after them, or show nothing."""


def shown(text: str, keep: str = "") -> str:
    r"""Return a text with what the terminal would obey, or could not encode, escaped: ESC becomes ``\x1b``.

    ``keep`` are characters that stay all the same, such as the newlines of several lines. Brackets stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in keep or not _is_obeyed(character) else _escaped(character) for character in text
    )


def _is_obeyed(character: str) -> bool:
    return unicodedata.category(character) in HIDDEN or character in DIRECTIONS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
