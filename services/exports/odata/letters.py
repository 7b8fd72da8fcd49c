"""Upper and lower case of every letter, as patterns. Pure.

MongoDB's ``$toLower`` and ``$toUpper`` support ASCII only. A comparison of ``tolower(name)`` with a text is
therefore reversed: the pattern matches each text whose lower case is that text, letter by letter (Unicode's full
mapping without context: ``ß`` is ``SS`` in upper case, and ``Σ`` is ``σ`` in lower case wherever it stands).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from services.exports.odata.errors import unsupported

Case = Literal["tolower", "toupper"]
#: Letters whose other case is several letters make patterns that branch; so many in a row at most.
_MOST_BRANCHES = 8


def changed(case: Case, text: str) -> str:
    """A text in the other case, letter by letter."""
    change = _change(case)
    return "".join(map(change, text))


def pattern(case: Case, text: str) -> str | None:
    """The pattern of all texts whose other case is ``text``; None if there are none. Raises ODataError for a text
    with too many branches."""
    change, sources = _change(case), _sources(case)
    ways: list[list[tuple[str, int]]] = []
    for at, letter in enumerate(text):
        single = ([letter] if change(letter) == letter else []) + list(sources.get(letter, ()))
        found = [(_one_of(single), 1)] if single else []
        for length in (2, 3):
            if many := sources.get(text[at : at + length], ()) if at + length <= len(text) else ():
                found.append((_one_of(many), length))
        ways.append(found)
    return _joined(ways)


def _joined(ways: Sequence[Sequence[tuple[str, int]]]) -> str | None:
    """The paths through all letters as one pattern. Only where a letter can be read together with the next do they
    branch."""
    whole, at = "", 0
    while at < len(ways):
        end, reach = at, at + 1
        while end < reach:
            reach = max([reach, *(end + length for _, length in ways[end])])
            end += 1
        if end - at > _MOST_BRANCHES:
            raise unsupported("$filter", "a text with so many letters that are written as one cannot be compared")
        part = _branches(ways, at, end)
        if part is None:
            return None
        whole, at = whole + part, end
    return whole


def _branches(ways: Sequence[Sequence[tuple[str, int]]], at: int, end: int) -> str | None:
    if at == end:
        return ""
    found = [
        first + rest
        for first, length in ways[at]
        if at + length <= end and (rest := _branches(ways, at + length, end)) is not None
    ]
    if not found:
        return None
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def _one_of(letters: Sequence[str]) -> str:
    escaped = [re.escape(letter) for letter in letters]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


def _change(case: Case) -> Callable[[str], str]:
    return str.lower if case == "tolower" else str.upper


@lru_cache(maxsize=2)
def _sources(case: Case) -> Mapping[str, Sequence[str]]:
    """Result of one letter (one to three letters) → the letters that become it, without itself."""
    change = _change(case)
    found: dict[str, list[str]] = {}
    # The last letter with a case lies in the plane of historic scripts.
    for letter in map(chr, range(0x20000)):
        if (result := change(letter)) != letter:
            found.setdefault(result, []).append(letter)
    return found
