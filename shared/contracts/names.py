"""Names of attributes that some reader takes for another. Pure."""

import unicodedata
from collections.abc import Iterable

from shared.contracts.events import EVENT_MODELS

#: The attributes that Kith reads, and those of CloudEvents that determine how an event is read.
_KNOWN = frozenset(name for model in EVENT_MODELS for name in model.model_fields) | {
    *("data_base64", "datacontenttype", "dataschema")
}

#: Longer names are compared without Unicode's normal form, which takes quadratic time for a row of accents.
#: None of them is one that Kith reads: no normal form of so many visible characters is as short.
_LONGEST = 256


def lookalike(names: Iterable[str]) -> str | None:
    """The first name that differs from another, or from an attribute that Kith reads, by case, by the width of its
    letters or by invisible characters only; None without one.

    Many JSON readers compare the names of members without case (Go's does), and readers in C end them at a NUL: of
    ``tenant`` and ``Tenant`` they may believe the other one.
    """
    seen: set[str] = set()
    for name in names:
        if name in _KNOWN and name not in seen:
            seen.add(name)
            continue
        known_as = folded(name)
        if known_as in seen or known_as in _KNOWN:
            return name
        seen.add(known_as)
    return None


def folded(name: str) -> str:
    """The name as readers know it that compare without case, width and what is not seen."""
    if name.isascii() and name.isalnum():
        return name.lower()
    text = _visible(name.partition("\0")[0])
    if len(text) <= _LONGEST:
        text = _visible(unicodedata.normalize("NFKC", text))
    return text.casefold()


def _visible(text: str) -> str:
    return "".join(filter(str.isprintable, text)).replace(" ", "")
