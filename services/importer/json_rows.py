"""JSON with its numbers as they are written. Pure."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

#: Levels of objects and lists in a line. What handles a value calls itself once a level.
_DEEPEST = 100
_TOO_MUCH = "contains a number that is too long, or too deep a nesting"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotJson(ValueError):
    """A line is not JSON, or ambiguous JSON. The message quotes no value."""


def read_json(line: str | bytes) -> Any:
    """The value in a line. A number with a decimal sign or an exponent is a Decimal, because a float would lose
    digits; the target field decides whether it can store the number exactly. Raises NotJson."""
    try:
        text = line.decode() if isinstance(line, bytes) else line
        value = json.loads(text, parse_float=_decimal, parse_constant=_refuse, object_pairs_hook=_object)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode()
        if text.count("[") + text.count("{") > _DEEPEST and _is_deep(value):
            raise NotJson(_TOO_MUCH)
        return value
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        said = "is more than one value" if error.msg == "Extra data" else error.msg
        raise NotJson(f"{said}, at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise NotJson("is not UTF-8") from None
    except UnicodeEncodeError:
        raise NotJson("contains half of a surrogate pair") from None
    except (ValueError, RecursionError):
        raise NotJson(_TOO_MUCH) from None


def _decimal(text: str) -> Decimal:
    if len(text) > 400:
        raise NotJson("contains a number that is too long")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise NotJson("contains a number whose exponent is too large") from None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        parts = [
            part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)
        ]
        level = [each for part in parts for each in part]
    return bool(level)


def _refuse(_: str) -> NoReturn:
    raise NotJson("contains a number that is not JSON: NaN or Infinity")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("contains an object with the same name twice")
    return found
