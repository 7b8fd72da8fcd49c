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
    def claim(self, id: str, day: str, needed: int, wanted: int, most: int) -> tuple[int, int]:
        """Count ``wanted`` events of a credential on a day, or fewer, but never beyond ``most``, and none unless
        ``needed`` are free. Returns how many were counted, and how many are free after it. Raises Unavailable."""


class MongoCounts:
    """Counts in the collection ``event_days``."""

    def __init__(self, database: Database[Document]) -> None:
        self._days = database.get_collection(COLLECTION, write_concern=DURABLE)

    def claim(self, id: str, day: str, needed: int, wanted: int, most: int) -> tuple[int, int]:
        # A process whose clock is behind counts for the day that has begun, and does not begin the old one again.
        goes_on = {"$gte": [{"$ifNull": ["$day", ""]}, day]}
        count = {"$cond": [goes_on, "$count", 0]}
        free = {"$subtract": [most, count]}
        claimed = {"$cond": [{"$gte": [free, needed]}, {"$min": [free, wanted]}, 0]}
        change = [{"$set": {"count": {"$add": [count, claimed]}, "day": {"$max": ["$day", day]}}}]
        for attempt in range(3):
            try:
                with translated():
                    before = self._days.find_one_and_update(
                        {"_id": id}, change, upsert=True, return_document=ReturnDocument.BEFORE
                    )
                    return claim(before["count"] if before and before["day"] >= day else 0, needed, wanted, most)
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


def claim(count: int, needed: int, wanted: int, most: int) -> tuple[int, int]:
    """What ``Counts.claim`` returns where ``count`` events are counted."""
    free = most - count
    claimed = min(free, wanted) if free >= needed else 0
    return claimed, max(0, free - claimed)


@dataclass(slots=True)
class _Share:
    """What this process has taken for a credential, of the quota ``most``."""

    day: str = ""
    most: int = 0
    left: int = 0
    #: What all can still take, as of the last time that this process took some. Within a day it only becomes less.
    free: int = 0
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
                share.day, share.left, share.free = day, 0, most
            if share.most != most:
                # The tenant has changed it. Of a smaller one, what was taken may be too much.
                share.left = share.left if most > share.most else 0
                share.most, share.free = most, most
            # What does not fit is not counted: nobody else may be refused for it.
            if share.left < amount <= share.left + share.free:
                needed, id = amount - share.left, _id_of(owner.tenant, owner.key)
                wanted = max(needed, most // _PARTS)
                loop = asyncio.get_running_loop()
                claimed, share.free = await loop.run_in_executor(
                    self._threads, self._counts.claim, id, day, needed, wanted, most
                )
                share.left += claimed
            if share.left < amount:
                raise _denied(most, share.left + share.free, now)
            share.left -= amount
            return Quota(most, share.left + share.free, _until_midnight(now))


def _until_midnight(now: datetime) -> int:
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return max(1, ceil((midnight - now).total_seconds()))


def _id_of(tenant: str, key: str) -> str:
    return f"{tenant}/{key}"


def _denied(most: int, left: int, now: datetime) -> Denied:
    seconds = _until_midnight(now)
    detail = f"this credential may send {most:,} events in a day (UTC), of which {left:,} are left"
    headers = {"Retry-After": str(seconds), **Quota(most, left, seconds).headers()}
    return Denied(429, f"{detail}; try again in {seconds} s", headers)
