"""Times as the command's options take them."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str, now: datetime) -> datetime:
    """A time in ISO 8601 (UTC when it names no offset), or how long ago: 90m, 24h, 7d, 2w. Raises ValueError."""
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def time_option(option: str, text: str | None) -> datetime | None:
    """What ``option`` was given as a time, if it was. Raises typer.BadParameter."""
    try:
        return None if text is None else parse_time(text, datetime.now(UTC))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time", param_hint=option) from None
