"""How many events a credential may send in a day (UTC): counted over all processes, with few writes.

Each process takes a hundredth of the quota at a time from a count in MongoDB, and spends it from memory. So all
processes together never accept more than the quota. They may refuse a little early: what one has taken and not
spent (a hundredth each) is missing elsewhere, and is lost when it ends. A day costs a hundred writes per
credential, one more per process, and one per batch that is larger than a hundredth.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Protocol

from cachetools import LRUCache
from pymongo import ReturnDocument
from pymongo.database import Database

from shared.access.quota import Quota
from shared.contracts.errors import Stale
from shared.contracts.limits import Owner
from shared.http.caller import Caller, Denied
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: A document per credential: the day (``2026-11-29``) and the events taken in it.
COLLECTION = "event_days"
_PARTS = 100
_CREDENTIALS = 10_000


class Counts(Protocol):
    def add(self, id: str, day: str, amount: int) -> int:
        """Count ``amount`` events of a credential on a day. Returns the count after it. Raises Unavailable."""


class MongoCounts:
    """Counts in the collection ``event_days``."""

    def __init__(self, database: Database[Document]) -> None:
        self._days = database.get_collection(COLLECTION, write_concern=DURABLE)

    def add(self, id: str, day: str, amount: int) -> int:
        # A process whose clock is behind counts for the day that has begun, and does not begin the old one again.
        goes_on = {"$gte": [{"$ifNull": ["$day", ""]}, day]}
        counted = {"$cond": [goes_on, {"$add": ["$count", amount]}, amount]}
        change = [{"$set": {"count": counted, "day": {"$max": ["$day", day]}}}]
        for attempt in range(3):
            try:
                with translated():
                    after = self._days.find_one_and_update(
                        {"_id": id}, change, upsert=True, return_document=ReturnDocument.AFTER
                    )
                    assert after is not None
                    return int(after["count"])
            except Stale:
                # Another process has created the document at the same moment.
                if attempt == 2:
                    raise
        raise AssertionError("the loop returns or raises")

    def read(self, tenant: str, key: str, day: str) -> int:
        """The count of a credential on a day. Raises Unavailable."""
        with translated():
            found = self._days.find_one({"_id": _id_of(tenant, key), "day": day})
        return 0 if found is None else int(found["count"])


@dataclass(slots=True)
class _Share:
    """What this process has taken for a credential. ``ended``: the count has reached the quota ``most``."""

    day: str = ""
    most: int = 0
    left: int = 0
    #: What others can still take, as of the last time that this process took some.
    beyond: int = 0
    ended: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class EventDays:
    """Counts the events of a day. Works in one event loop at a time."""

    def __init__(self, counts: Counts, now: Callable[[], datetime]) -> None:
        self._counts, self._now = counts, now
        self._shares: LRUCache[Owner, _Share] = LRUCache(_CREDENTIALS)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="event-days")

    async def take(self, caller: Caller, amount: int) -> Quota | None:
        """Count events of a caller, and return what is left of its quota as far as this process knows; None
        without one. Raises Denied (429) for more than are left, and then takes none of them. Raises Unavailable
        when the count must be asked and cannot be."""
        most = caller.events_a_day
        if most is None or amount == 0:
            return None
        owner = Owner(caller.tenant, caller.key)
        if (share := self._shares.get(owner)) is None:
            share = self._shares[owner] = _Share()
        async with share.lock:
            now = self._now().astimezone(UTC)
            if share.day != (day := now.date().isoformat()):
                share.day, share.left, share.ended = day, 0, False
            if share.most != most:
                # The tenant has changed it. Of a smaller one, what was taken may be too much.
                share.left = share.left if most > share.most else 0
                share.most, share.ended = most, False
            if share.left < amount and not share.ended:
                wanted = max(amount - share.left, most // _PARTS, 1)
                id = _id_of(owner.tenant, owner.key)
                loop = asyncio.get_running_loop()
                count = await loop.run_in_executor(self._threads, self._counts.add, id, day, wanted)
                share.left += max(0, wanted - max(0, count - most))
                share.beyond = max(0, most - count)
                share.ended = count >= most
            if share.left < amount:
                raise _denied(most, share.left, now)
            share.left -= amount
            return Quota(most, share.left + share.beyond, _until_midnight(now))


def _until_midnight(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return max(1, ceil((midnight - now).total_seconds()))


def _id_of(tenant: str, key: str) -> str:
    return f"{tenant}/{key}"


def _denied(most: int, left: int, now: datetime) -> Denied:
    seconds = _until_midnight(now)
    detail = f"this credential may send {most:,} events in a day (UTC), of which {left:,} are left here"
    headers = {"Retry-After": str(seconds), **Quota(most, left, seconds).headers()}
    return Denied(429, f"{detail}; try again in {seconds} s", headers)
