"""Text that is safe to print on a terminal. Pure."""


def printable(text: str) -> str:
    """``text`` from outside, with every non-printing character escaped, so that it cannot control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))
