"""JSON with its numbers as they are written. Pure."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class NotJson(ValueError):
    """A line is no JSON, or no JSON of one meaning. The message quotes no value."""


def read_json(line: str | bytes) -> Any:
    """The value in a line. A number with a decimal sign or an exponent is a Decimal: a float would lose digits,
    and whether it can be held exactly is for the field to say that it goes to. Raises NotJson."""
    try:
        text = line.decode() if isinstance(line, bytes) else line
        value = json.loads(text, parse_float=_decimal, parse_constant=_refuse, object_pairs_hook=_object)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False, default=str).encode()
        return value
    except NotJson:
        raise
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg}, at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise NotJson("is not UTF-8") from None
    except UnicodeEncodeError:
        raise NotJson("holds half of a surrogate pair") from None
    except (ValueError, RecursionError):
        raise NotJson("holds a number or a nesting that is too long") from None


def _decimal(text: str) -> Decimal:
    if len(text) > 400:
        raise NotJson("holds a number that is too long")
    return Decimal(text)


def _refuse(_: str) -> NoReturn:
    raise NotJson("holds a number that JSON does not have")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("holds an object in which a name stands twice")
    return found
