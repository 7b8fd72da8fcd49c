"""Guesses the encoding of text that is neither UTF-8 nor UTF-16, as spreadsheets save it outside of English. Pure.

Bytes alone do not say it. Each encoding that can decode them is judged by what it makes of them: characters that
texts consist of, or rare ones side by side. cp1252 (Western Europe) is the answer if nothing fits better; its
neighbours cp1250 and cp1254 cannot be told from it.
"""

import codecs
import re
from collections.abc import Callable, Mapping

#: The share of characters that have to be common ones.
_ENOUGH = 0.8
_PUNCTUATION = r"[\u3000-\u3015\uff01-\uff5e]"
_JAPANESE = r"[\u3000-\u3015\uff01-\uff5e\u3040-\u30ff]"


def _led(encoding: str, first: range, also: str) -> Callable[[str], bool]:
    """Whether a character is in the part of a double-byte encoding of its common ones: those with these first
    bytes, and ``also``."""
    others = re.compile(also)

    def is_common(character: str) -> bool:
        try:
            return bool(others.match(character)) or character.encode(encoding)[0] in first
        except UnicodeEncodeError:
            return False

    return is_common


#: Encoding → whether a character is common in its texts. Of two that fit as well, the first one is the likelier.
_WIDE: Mapping[str, Callable[[str], bool]] = {
    "cp932": _led("cp932", range(0x88, 0x98), _JAPANESE),
    "cp949": _led("euc_kr", range(0xB0, 0xC9), "(?!)"),
    "gb18030": _led("gb2312", range(0xB0, 0xD8), _PUNCTUATION),
    "big5": _led("big5", range(0xA4, 0xC7), _PUNCTUATION),
    "euc_jp": _led("euc_jp", range(0xB0, 0xD0), _JAPANESE),
}
#: Encoding → the letters of its script.
_SCRIPTS: Mapping[str, re.Pattern[str]] = {
    "cp1251": re.compile("[\u0400-\u045f\u0490\u0491]+"),
    "koi8-r": re.compile("[\u0401\u0410-\u044f\u0451]+"),
    "cp1253": re.compile("[\u0384-\u03ce]+"),
    "cp1255": re.compile("[\u05d0-\u05ea]+"),
    "cp1256": re.compile("[\u060c-\u0652\u067e-\u06d2]+"),
    "cp874": re.compile("[\u0e01-\u0e5b]+"),
}
#: Three letters in a row that are not ASCII: rare in Latin script.
_RUN = re.compile(rb"[\x80-\xff]{3,}")
_RUNS = re.compile(rb"[\x80-\xff]+")
_HIGH = re.compile(rb"[\x80-\xff]")
_WIDE_ALONE = r"(?<![^\x00-\x7f])[^\x00-\x7f](?![^\x00-\x7f])"
#: A character alone in a word of ASCII letters: rare in East Asian text, and what cp932 makes of O’Brien.
_IN_WORD = re.compile(f"(?<=[A-Za-z]){_WIDE_ALONE}|{_WIDE_ALONE}(?=[A-Za-z])")

#: The signs that texts in ASCII contain, alone, in cp1252: £ § © « ® ° ± ² µ · º » ½ € and their like. In
#: double-byte encodings they are first bytes, of which most have another byte beside them that is not ASCII.
_SIGNS_ALONE = re.compile(rb"[\x80\xa0\xa3\xa7\xa9-\xab\xae\xb0-\xb3\xb5\xb7\xb9-\xbe]")


def guess(sample: bytes) -> str:
    """The likeliest encoding, by its Python name."""
    if all(_SIGNS_ALONE.fullmatch(run) for run in _RUNS.findall(sample)):
        return "cp1252"
    best, found = _ENOUGH, "cp1252"
    for name, is_common in _WIDE.items():
        text = _decoded(sample, name)
        characters = [c for c in text if not c.isascii()]
        if len(_IN_WORD.findall(text)) > 0.5 * len(characters):
            continue
        share = sum(map(is_common, characters)) / max(len(characters), 1)
        if share > best:
            best, found = share, name
    if found == "cp1252" and sum(map(len, _RUN.findall(sample))) > 0.5 * len(_HIGH.findall(sample)):
        best = _ENOUGH
        for name, script in _SCRIPTS.items():
            text = _decoded(sample, name)
            words = [word for word in script.findall(text) if word[1:] in (word[1:].lower(), word[1:].upper())]
            share = sum(map(len, words)) / max(sum(not c.isascii() for c in text), 1)
            if share > best:
                best, found = share, name
    return found


def _decoded(sample: bytes, encoding: str) -> str:
    """The text; empty if the bytes are none. The sample may end within a character."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(sample)
    except UnicodeDecodeError:
        return ""
