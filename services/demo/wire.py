"""Makes the simulated market's events as CloudEvents (JSON-able dicts). Pure."""

from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

from services.demo.seasons import local_offset

Event = dict[str, Any]

WEB, APP, TILL = "/lake/web", "/lake/app", "/lake/till"
SOURCES = (WEB, APP, TILL)

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamp(time: int, source: str) -> str:
    """Microseconds since 1970 as RFC 3339, as the source writes it: the website in UTC to the microsecond, the app
    in UTC to the millisecond, the tills in local time to the second."""
    moment = _EPOCH + timedelta(microseconds=time)
    if source == TILL:
        return moment.astimezone(timezone(local_offset(moment))).isoformat(timespec="seconds")
    text = moment.isoformat(timespec="microseconds" if source == WEB else "milliseconds")
    return text.replace("+00:00", "Z")


class Writer:
    """Makes events with random but repeatable ids, all of one tenant (None leaves the attribute out)."""

    def __init__(self, random: Random, tenant: str | None) -> None:
        self._random = random
        self._tenant = tenant

    def event(self, type: str, time: int | str, data: dict[str, Any], source: str | None = None) -> Event:
        """An event at ``time``: microseconds since 1970, or RFC 3339 as it is to be written."""
        random = self._random
        source = source or SOURCES[int(random.random() * 3)]
        event: Event = {
            "specversion": "1.0",
            "id": f"{random.getrandbits(64):016x}",
            "source": source,
            "type": type,
            "time": time if isinstance(time, str) else stamp(time, source),
            "data": data,
        }
        if self._tenant is not None:
            event["tenant"] = self._tenant
        return event
