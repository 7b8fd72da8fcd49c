"""Checks whether bytes are text in the stated encoding, and finds a likely one if they are not. Pure."""

import codecs
import re
from collections.abc import Sequence
from functools import lru_cache

from services.importer import charsets

#: Size of the sample at the start of a file, in bytes.
SAMPLE = 64 * 1024
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: No text has them; bytes of them are ordinary signs in the encodings of Windows.
_CONTROL = re.compile("[\u0080-\u009f]")


def likely(sample: bytes) -> str:
    """The likeliest encoding of the start of a file, by its Python name."""
    for mark, name in _MARKS:
        if sample.startswith(mark):
            return name
    if wide := _wide(sample):
        return wide
    return "utf-8" if _is_utf8(sample) else charsets.guess(sample)


def mismatch(sample: bytes, encoding: str) -> str | None:
    """Why the start of a file cannot be in ``encoding``; None if it can. A single undecodable byte is no reason:
    it only rejects its row."""
    stated = encoding.removesuffix("-sig")
    found = likely(sample)
    if found.startswith(("utf-16", "utf-32")) and not stated.startswith(found[:6]):
        return f'is not text in {stated}, but looks like {found.upper()}: set encoding = "{found}"'
    if stated.startswith(("utf-16", "utf-32")) and not found.startswith(stated[:6]):
        return f'is not text in {stated}: set encoding = "{found}", which is likely'
    if found == "utf-8" and stated not in ("utf-8", "ascii") and not sample.isascii() and _is_single(stated):
        return f'is not text in {stated}, but looks like UTF-8: set encoding = "utf-8"'
    return None


def hint(encoding: str, likeliest: str = "utf-8") -> str:
    """The fault of a row whose bytes are not text in ``encoding``. ``likeliest`` is what the file's start looks
    like."""
    stated = encoding.removesuffix("-sig")
    names = dict.fromkeys((likeliest, "utf-8", "cp1252", "utf-16"))
    return f"is not text in {stated}; likely ones are " + ", ".join(name for name in names if name != stated)


def misread(text: Sequence[str], encoding: str) -> bool:
    """Whether text read as ``encoding`` (of one byte a character) was in another one: UTF-8, whose ``é`` becomes
    ``Ã©``, or one of Windows, whose quotes, dashes and € are controls in ISO 8859."""
    if encoding.startswith("iso8859") and any(_CONTROL.search(part) for part in text):
        return True
    return _is_single(encoding) and any(_was_utf8(part, encoding) for part in text if not part.isascii())


def _was_utf8(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding, "surrogateescape").decode()
    except UnicodeError:
        return False
    return True


@lru_cache(maxsize=64)
def _is_single(encoding: str) -> bool:
    try:
        return len("é".encode(encoding)) == 1
    except UnicodeError:
        return encoding in ("cp1251", "iso8859-5", "koi8-r")


def _is_utf8(sample: bytes) -> bool:
    try:
        # The sample may end within a character.
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _wide(sample: bytes) -> str | None:
    """UTF-16 without its mark: every other byte of text in Latin letters is 0."""
    if len(sample) < 4:
        return None
    even, odd = sample[::2], sample[1::2]
    if odd.count(0) > len(odd) * 0.4 and even.count(0) < len(even) * 0.1:
        return "utf-16-le"
    if even.count(0) > len(even) * 0.4 and odd.count(0) < len(odd) * 0.1:
        return "utf-16-be"
    return None
