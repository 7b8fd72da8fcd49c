"""Markdown for the generated pages. Pure."""

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """``text`` as the cell of a table: one line, and no bar that would end the cell."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table, surrounded by empty ones; none without rows."""
    body = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not body:
        return []
    return ["", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *body, ""]


def code(text: object) -> str:
    """``text`` as inline code, also where it contains a grave accent."""
    mark = "``" if "`" in str(text) else "`"
    return f"{mark}{text}{mark}"


def sentence(text: str) -> str:
    """``text`` with a full stop at its end."""
    text = text.strip()
    return text if not text or text[-1] in ".!?:" else f"{text}."
