"""RFC 3339 times (section 5.6, ``date-time``), and no other form. Pure.

Rejected are a number of seconds, a time without offset, a date alone, and a space in place of the ``T``. ``t`` and
``z`` may be lower case, and a fraction may have any number of digits. A leap second (60) is rejected, because
neither Python nor MongoDB can represent it. Python has a precision of microseconds: digits after the sixth are cut
off.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

#: Interpreted alike by Python's ``re`` (with fullmatch) and by Rust's regular expressions.
PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
#: The detail for a text of any other form.
WANTED = "must be an RFC 3339 time with its offset, such as 2026-11-21T07:00:00Z (and no leap second)"
_TIME = re.compile(PATTERN)
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FRACTION = re.compile(r"\.([0-9]+)")


@dataclass(frozen=True)
class Rfc3339:
    """Annotates a datetime. In JSON it is a string of the pattern, from ``ge`` to before ``lt``; in Python a
    timezone-aware datetime within the same bounds."""

    ge: datetime
    lt: datetime

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=f"^{PATTERN}$", strict=True), "rfc_3339", custom_error_message=WANTED
        )
        # Not strict, because the value is a Python string here. The pattern rejects the other forms that lax mode
        # accepts.
        parsed = core_schema.chain_schema([text, self._datetime(strict=False)])
        return core_schema.json_or_python_schema(parsed, self._datetime(strict=True))

    def _datetime(self, *, strict: bool) -> CoreSchema:
        return core_schema.datetime_schema(ge=self.ge, lt=self.lt, tz_constraint="aware", strict=strict)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


def parse(text: str) -> datetime:
    """The time with its written offset. Raises ValueError, which does not quote the text."""
    if _TIME.fullmatch(text):
        # Every version of Python reads a fraction of six digits; only newer ones read others.
        whole = _FRACTION.sub(lambda digits: f".{digits[1][:6]:0<6}", text.upper())
        try:
            return datetime.fromisoformat(whole)
        except ValueError:
            pass
    raise ValueError(WANTED)


def parse_day_or_time(text: str) -> datetime:
    """The time in UTC, or the start in UTC of a day such as 2026-11-21. Raises ValueError, which does not quote
    the text."""
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return parse(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a day such as 2026-11-21 or a time with its offset such as 2026-11-21T07:00:00Z"
        ) from None
