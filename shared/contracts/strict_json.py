"""Rejects what JSON allows and Kith does not: a repeated member, a number that cannot be represented exactly, half
of a surrogate pair. Pure.

RFC 8259 leaves each of them to the reader, so two readers of one event could find two tenants, two ids or two
amounts. ``check`` costs about as much as decoding an event. So the codec calls it only where it has not excluded
all of them already.
"""

import json
import re
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from shared.contracts.errors import InvalidEvent
from shared.contracts.fault_path import EVENT_NAMES, safe_path

_INT64 = 2**63
_INT64_DIGITS = 19
#: A decimal number with this many significant digits survives the conversion to a binary double and back.
_SURE_DIGITS = 15
_SURROGATE = re.compile("[\ud800-\udfff]")

_TWICE = "is there twice in one object; which of the two counts is not defined"
_TOO_LONG = "does not fit into 64 bits; send it as a string, or as a smaller number"
_INEXACT = "has more digits than a number can hold (15 are certain); send it as a string, or round it"
_INFINITE = "is larger than any number that can be held"
_NO_NUMBER = "is not JSON: NaN and Infinity are no numbers there"
#: The detail for bytes that are no text.
NOT_UTF_8 = "is not UTF-8"
_HALF = "holds half of a surrogate pair (\\ud800 to \\udfff by itself), which is no character"


class _Fault(NamedTuple):
    """Takes the place of a faulty value, so that the path to it can be found."""

    reason: str
    detail: str


class _Twice(NamedTuple):
    """An object with a repeated member ``name``."""

    name: str


def check(
    raw: bytes, within: str | None = None, declared: Callable[[], Collection[str]] = lambda: EVENT_NAMES
) -> None:
    """Raise InvalidEvent, with the path of the member at fault, when ``raw`` contains any of these. The reason is
    ``duplicate_member``, ``inexact_number``, ``lone_surrogate`` or, for NaN and invalid JSON, ``not_json``.
    ``within`` is the path of ``raw`` itself, and ``declared`` the names that the path may show."""
    faults: list[_Fault | _Twice] = []

    def noted(fault: Any) -> Any:
        faults.append(fault)
        return fault

    def members(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        seen: set[str] = set()
        return noted(_Twice(next(name for name, _ in pairs if name in seen or seen.add(name))))  # type: ignore[func-returns-value]

    def whole(text: str) -> Any:
        digits = text.lstrip("-")
        if len(digits) > _INT64_DIGITS or not -_INT64 <= int(text) < _INT64:
            return noted(_Fault("inexact_number", _TOO_LONG))
        return 0

    def fractional(text: str) -> Any:
        detail = inexact(text)
        return 0 if detail is None else noted(_Fault("inexact_number", detail))

    def constant(_: str) -> Any:
        return noted(_Fault("not_json", _NO_NUMBER))

    decoder = json.JSONDecoder(
        object_pairs_hook=members, parse_int=whole, parse_float=fractional, parse_constant=constant
    )
    try:
        value = decoder.decode(raw.decode())
        if faults or b"\\u" in raw:
            _raise_at(value, [] if within is None else [within], declared)
    except RecursionError:
        raise InvalidEvent("not_json", "is nested too deeply", within) from None
    except UnicodeDecodeError:
        raise InvalidEvent("not_json", NOT_UTF_8, within) from None
    except json.JSONDecodeError as error:
        # The message quotes nothing of the input, except the character after a backslash.
        raise InvalidEvent("not_json", f"{error.msg} at character {error.pos}", within) from None


def inexact(text: str) -> str | None:
    """Why a number with a fraction or an exponent cannot be represented exactly; None when it can: it is the
    shortest form of a double, or equals that double exactly."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return _INFINITE
    if len(text) <= _SURE_DIGITS and "e" not in text and "E" not in text:
        return None
    try:
        stated = Decimal(text)
    except InvalidOperation:  # an exponent beyond what even a Decimal holds
        return _INEXACT
    # In this order: the exact digits of a double near to 0 are hundreds.
    return None if stated == Decimal(repr(value)) or stated == Decimal(value) else _INEXACT


def _raise_at(value: Any, path: list[str | int], declared: Callable[[], Collection[str]]) -> None:
    """``path`` is that of ``value``. It grows and shrinks on the way: a copy for each value would take quadratic
    time where they are nested deeply."""
    match value:
        case _Twice(name):
            raise InvalidEvent("duplicate_member", _TWICE, safe_path([*path, name], declared()))
        case _Fault(reason, detail):
            raise InvalidEvent(reason, detail, safe_path(path, declared()))
        case dict():
            for name, part in value.items():
                path.append(name)
                _raise_at(name, path, declared)
                _raise_at(part, path, declared)
                path.pop()
        case list():
            for index, part in enumerate(value):
                path.append(index)
                _raise_at(part, path, declared)
                path.pop()
        case str() if _SURROGATE.search(value):
            raise InvalidEvent("lone_surrogate", _HALF, safe_path(path, declared()))
