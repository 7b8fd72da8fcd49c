"""Numbers as people and programs write them. Pure. Ambiguous numbers are rejected."""

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from services.importer.values import BadValue

Negative = tuple[str, ...]
_LONGEST_NUMBER = 40
# Products of a few numbers of at most 40 digits are exact in this context, which the process cannot change.
_EXACT = Context(prec=400)
#: Separators that look alike count as the same one; a number uses only one of them.
_ALIKE = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}
_ALIKE |= {other: alike for alike in _ALIKE.values() for other in alike}
MINUS = "\u2212"
#: Decimals without a value. Three zeros may be a group of thousands.
_NONE = ("0", "00")


class Style(NamedTuple):
    """A notation of numbers: the decimal sign, the thousands separator, and the negative forms besides ``-5``:
    ``minus`` (U+2212), ``trailing`` (5-), ``brackets`` ((5)). ``decimals`` is the maximum number of decimals;
    ``zeros``: .0 and .00 are none; ``exponent``: 1e3 is a number; ``signs``: characters that may stand beside the
    digits in a negative form, as in ($5) and -$5; ``indian``: the groups before the last one are of two digits."""

    point: str = "."
    thousands: str = ""
    negative: Negative = ()
    decimals: int | None = None
    zeros: bool = False
    exponent: bool = True
    signs: str = ""
    indian: bool = False


PLAIN = Style()


def to_decimal(value: Any, style: Style = PLAIN) -> Decimal:
    """The exact number in ``value``. Raises BadValue."""
    if isinstance(value, str):
        return _parsed(value, style)
    if isinstance(value, Decimal):
        # Not by abs, which raises what few expect: it rounds, and some exponents have no place in its context.
        if value.is_finite() and (not value or -_EXACT.prec < value.adjusted() < _LONGEST_NUMBER):
            return value
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_NUMBER:
        return Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    raise BadValue("is not a number")


def _parsed(text: str, style: Style) -> Decimal:
    sign, text = _sign(text, style.negative)
    if style.signs:
        text = text.strip(style.signs)
    pattern = _pattern(style.point, style.thousands, style.indian)
    if len(text) > _LONGEST_NUMBER or not (match := pattern.fullmatch(text)):
        raise BadValue(_reason(text, style))
    if match["exponent"] and not style.exponent:
        raise BadValue("is a number with an exponent, which may have lost digits: write it in full")
    decimals = match["decimals"] or match["fraction"] or ""
    if style.decimals is not None and len(decimals) > style.decimals and not (style.zeros and decimals in _NONE):
        raise BadValue(
            f"has {len(decimals)} decimals, but at most {style.decimals} are expected: is the decimal sign right?"
        )
    whole = "".join(c for c in match["whole"] or "0" if c.isdigit())
    return Decimal(f"{sign}{whole}.{decimals or 0}{match['exponent'] or ''}")


def _sign(text: str, negative: Negative) -> tuple[str, str]:
    minuses = f"-{MINUS}" if "minus" in negative else "-"
    if "brackets" in negative and len(text) > 2 and text[0] == "(" and text[-1] == ")":
        return "-", text[1:-1]
    if "trailing" in negative and len(text) > 1 and text[-1] in minuses:
        return "-", text[:-1]
    if text[:1] and text[0] in f"+{minuses}":
        return "" if text[0] == "+" else "-", text[1:]
    return "", text


@lru_cache(256)
def _pattern(point: str, thousands: str, indian: bool) -> re.Pattern[str]:
    whole = r"\d+"
    if thousands:
        alike = re.escape(_ALIKE.get(thousands, thousands))
        mark, again = f"(?P<mark>[{alike}])", "(?P=mark)"
        groups = rf"[1-9]\d{{0,2}}{mark}\d{{3}}(?:{again}\d{{3}})*"
        if indian:
            groups = rf"[1-9]\d?(?:{mark}\d\d(?:{again}\d\d)*{again}\d{{3}}|[{alike}]\d{{3}})"
        whole = rf"{groups}|\d+"
    number = rf"(?:(?P<whole>{whole})(?:{re.escape(point)}(?P<decimals>\d+))?|{re.escape(point)}(?P<fraction>\d+))"
    return re.compile(number + r"(?P<exponent>[eE][+-]?\d{1,2})?", re.ASCII)


def _reason(text: str, style: Style) -> str:
    digits = [c for c in text if c.isdigit()]
    if any(not c.isascii() for c in digits):
        return "is not a number: it has digits of another script"
    if len(digits) > _LONGEST_NUMBER:
        return f"is not a number of at most {_LONGEST_NUMBER} characters"
    if style.thousands and style.thousands in text:
        groups = "two digits and a last one of three" if style.indian else "three digits"
        hint = "" if style.indian else '; 1,00,000 needs groups = "indian"' if _lakh(text) else ""
        return f'is not a number: "{style.thousands}" separates groups of {groups}{hint}'
    if text[:1] == MINUS or text[-1:] in ("-", MINUS) or text[:1] == "(":
        return 'is not a number; where this is a negative one, set negative = ["minus", "trailing", "brackets"]'
    return "is not a number"


def _lakh(text: str) -> bool:
    """Whether a number may be in Indian groups: 1,00,000."""
    return re.search(r"\d\D\d\d\D\d{3}(?!\d)", text, re.ASCII) is not None


def multiply(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.multiply(left, right)


def to_int(number: Decimal, rounded: bool = False) -> int:
    """A whole number. Others are rejected, or with ``rounded`` rounded to the nearest (half to even)."""
    whole = number.to_integral_value(ROUND_HALF_EVEN, _EXACT)
    if whole != number and not rounded:
        raise BadValue("is not a whole number")
    return int(whole)


def decimals_of(factor: Decimal) -> int | None:
    """The maximum number of decimals of a number that ``factor`` makes whole: 2 for 100. None unless ``factor`` is
    a power of ten."""
    sign, digits, exponent = factor.normalize().as_tuple()
    whole = not sign and digits == (1,) and isinstance(exponent, int) and exponent >= 0
    return int(exponent) if whole else None
