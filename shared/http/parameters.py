"""Parameters of requests, where services take the same. Pure."""

import re
from datetime import UTC, datetime

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d))?", re.ASCII)


class BadParameter(ValueError):
    """A parameter cannot be used. ``name`` is the parameter, ``detail`` says to its sender why."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail


def moment(name: str, text: str) -> datetime:
    """The time, in UTC, of a day or of a time with its offset. Raises BadParameter."""
    if _TIME.fullmatch(text):
        try:
            time = datetime.fromisoformat(text.upper())
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            pass
    raise BadParameter(
        name,
        "must be a day such as 2026-11-21 or a time with its offset such as 2026-11-21T07:00:00Z"
        " (a plus sign in an address is written %2B)",
    )
