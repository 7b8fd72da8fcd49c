"""Text that is safe to print on a terminal. Pure."""

import unicodedata

#: They join letters or keep them apart, in Persian and in emoji.
_JOINERS = "\u200c\u200d"


def is_harmless(character: str) -> bool:
    """Whether a character can be printed as it is: letters, signs, and blanks of any width (a Japanese name has
    U+3000)."""
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def printable(text: str) -> str:
    """``text`` from outside, with every other character escaped, so that it cannot control a terminal."""
    return "".join(c if is_harmless(c) else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))
