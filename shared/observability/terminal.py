"""What a terminal may be sent. Pure."""


def printable(text: str) -> str:
    """``text`` from outside, with every character escaped that does not print: none can control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
