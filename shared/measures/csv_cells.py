"""Texts in CSV cells that no spreadsheet runs as a formula, and their decoding. Pure.

A spreadsheet treats a cell as a formula if it begins with ``=``, ``+``, ``-`` or ``@``, also in their full-width
forms and after blanks. It may split a file differently than it was written: with another delimiter (``;``, ``|``,
a tab, ASCII's separators) or at a line break of any kind, a cell can begin in the middle of a text. A quotation
mark there is dropped by its reader, so what follows begins the cell. An apostrophe goes in front of each such
place.

Data can begin with an apostrophe, too. A text that looks guarded already is guarded again, so that ``=1`` is
written ``'=1``, ``'=1`` is written ``''=1``, and ``unguarded`` returns each original. ``'t Hof`` is unchanged.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

#: Every character whose compatible form (Unicode's NFKC) begins with a sign of a formula.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫−⁺⁻⁼₊₋₌⩵⩶﬩"
#: Skipped at the beginning of a cell: quotation marks, blanks, and what has no width: controls, formats, fillers
#: and selectors of variants. Not what separates cells.
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    r"\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Tab, line breaks, and the separators of ASCII and Unicode.
_SEPARATES = r"\t\r\n\x0b\x0c\x1c-\x1f\x85\u2028\u2029"
_BLANKS = rf"(?:[^\S{_SEPARATES}]|[\"{_INVISIBLE}])*"
_FORMULA = rf"{_BLANKS}[{_SIGNS}]"
#: At the very beginning a tab or a line break is enough: spreadsheets drop it.
_BEGIN = rf"(?:[{_SEPARATES}]|{_FORMULA})"
_CELL = rf"(?<=[;|{_SEPARATES}])"
_TO_GUARD = re.compile(rf"\A(?='*{_BEGIN})|{_CELL}(?='*{_FORMULA})")
_GUARDED = re.compile(rf"\A'(?='*{_BEGIN})|{_CELL}'(?='*{_FORMULA})")
#: JSON escapes the separators of ASCII, and not all of the others.
_IN_JSON = re.compile(rf"(?<=[;|\x85\u2028\u2029])('*{_BLANKS})([{_SIGNS}])")


def guarded(text: str) -> str:
    """``text`` as a cell that is not a formula. ``unguarded`` reverses it."""
    return _TO_GUARD.sub("'", text)


def unguarded(text: str) -> str:
    """The original of a text that ``guarded`` returned."""
    return _GUARDED.sub("", text)


def guarded_json(text: str) -> str:
    """JSON text (an object or an array) with the same value. With another delimiter no cell of it begins with a
    sign of a formula, because the sign is written as an escape."""
    return _IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text)


def guarded_cell(value: Any) -> Any:
    """The cell of any value: texts are guarded, objects and arrays are JSON, numbers and None stay as they are."""
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, dict | list):
        return guarded_json(json.dumps(value, ensure_ascii=False))
    return value


def row_writer(text: io.StringIO) -> Callable[[Sequence[Any]], None]:
    """A function that writes a row of CSV with CRLF into ``text``. None is an empty cell, and an empty text one in
    quotes, as in PostgreSQL's COPY: most readers take both for an empty text, and lose nothing."""
    # A line end with both characters, so that both are quoted.
    write_row = csv.writer(text, lineterminator="\r\n").writerow

    def write(cells: Sequence[Any]) -> None:
        if "" not in cells or len(cells) == 1:
            write_row(cells)
            return
        for place, cell in enumerate(cells):
            text.write("," if place else "")
            if cell == "":
                text.write('""')
            elif cell is not None:
                # A row of one cell, without its end.
                write_row([cell])
                text.seek(text.tell() - 2)
        text.write("\r\n")

    return write


def csv_rows(rows: Iterable[Sequence[Any]], end: str) -> str:
    """Rows as CSV with ``end`` behind each. A cell with a carriage return or a line feed is in quotes: either
    ends a row for a reader, and Python's writer looks for the characters of its own line end only."""
    text = io.StringIO()
    write = row_writer(text)
    lines = []
    for row in rows:
        write(row)
        lines.append(text.getvalue().removesuffix("\r\n") + end)
        text.seek(0)
        text.truncate()
    return "".join(lines)
