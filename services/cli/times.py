"""Parses the times of command options."""

import re
from datetime import UTC, datetime, timedelta

import typer

from shared.contracts.rfc3339 import parse_day_or_time

_AGO = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(text: str, now: datetime) -> datetime:
    """A time (RFC 3339, with its offset), the start of a day in UTC, or a duration ago: 90m, 24h, 7d, 2w. The
    message of its ValueError contains the valid forms."""
    if ago := _AGO.fullmatch(text):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise ValueError("must not be before the year 1") from None
    try:
        return parse_day_or_time(text)
    except ValueError as error:
        raise ValueError(f"{error}, or how long ago: 90m, 24h, 7d, 2w") from None


def time_option(option: str, text: str | None) -> datetime | None:
    """The time in ``option``; None if it was not given. Raises typer.BadParameter."""
    try:
        return None if text is None else parse_time(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}", param_hint=option) from None
