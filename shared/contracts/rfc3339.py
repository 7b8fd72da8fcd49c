"""Times as RFC 3339 has them (section 5.6, ``date-time``), and nothing else. Pure.

No number of seconds, no time without its offset, no date alone, no space in place of the ``T``. ``t`` and ``z``
may be lower case, and a fraction may have any number of digits. A leap second (60) is refused, because neither
Python nor MongoDB holds it. Python holds microseconds: digits beyond the sixth are cut off.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

#: Read alike by Python's ``re`` (with fullmatch) and by the regular expressions of Rust.
PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
#: What a text is to be that is none of these.
WANTED = "must be an RFC 3339 time with its offset, such as 2026-11-21T07:00:00Z (and no leap second)"
_TIME = re.compile(PATTERN)
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FRACTION = re.compile(r"\.([0-9]+)")


@dataclass(frozen=True)
class Rfc3339:
    """Annotates a datetime. In JSON it is a string of the pattern, and from ``ge`` to before ``lt``; in Python an
    aware datetime within the same bounds."""

    ge: datetime
    lt: datetime

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=f"^{PATTERN}$", strict=True), "rfc_3339", custom_error_message=WANTED
        )
        # Not strict, because it is a string of Python by then. What that would take beside, the pattern refuses.
        parsed = core_schema.chain_schema([text, self._datetime(strict=False)])
        return core_schema.json_or_python_schema(parsed, self._datetime(strict=True))

    def _datetime(self, *, strict: bool) -> CoreSchema:
        return core_schema.datetime_schema(ge=self.ge, lt=self.lt, tz_constraint="aware", strict=strict)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


def parse(text: str) -> datetime:
    """The time with the offset that it is written with. Raises ValueError, which does not quote it."""
    if _TIME.fullmatch(text):
        # Of a fraction Python reads six digits, but only so many in every version.
        whole = _FRACTION.sub(lambda digits: f".{digits[1][:6]:0<6}", text.upper())
        try:
            return datetime.fromisoformat(whole)
        except ValueError:
            pass
    raise ValueError(WANTED)


def parse_day_or_time(text: str) -> datetime:
    """The time in UTC, or the beginning in UTC of a day such as 2026-11-21. Raises ValueError, which does
    not quote it."""
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
        return parse(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a day such as 2026-11-21 or a time with its offset such as 2026-11-21T07:00:00Z"
        ) from None
