"""Replays: the ranges of the topics of changes that an endpoint gets again. Methods raise Unavailable."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, FEEDS, LANES, RANGES, lane_id
from services.webhooks.fanout.feed import Feed
from services.webhooks.fanout.subscription import topics_of
from services.webhooks.log_reader import LogReader
from shared.contracts.topics import Topics
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.runtime.protocols import Document, Partition

#: Replays of one endpoint that are not finished. Each is read in pieces, by a thread that all tenants share.
MOST_REPLAYS = 3


class Unfinished(Exception):
    """The endpoint has as many unfinished replays as it may have: a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Replay:
    """``name`` is the value of the header kith-replay, ``changes`` how many there are to read."""

    name: str
    changes: int
    ranges: list[Document]


class Replays:
    def __init__(self, database: Database[Document], topics: Topics, open_log: Callable[[], LogReader]) -> None:
        self._database = durable_database(database)
        self._topics, self._open_log = topics, open_log
        self._feed = Feed(database, open_log, topics)

    def starts(self, types: Iterable[str], since: datetime | None) -> Mapping[Partition, int]:
        """Where a replay begins: the offsets of a time; None: of all that retention has left."""
        reader = self._open_log()
        try:
            return reader.offsets([self._topics.name(short) for short in sorted(topics_of([*types]))], since)
        finally:
            reader.close()

    def check(self, endpoint: str, session: ClientSession | None = None) -> None:
        """Raises Unfinished."""
        with translated():
            found = self._database[RANGES].find({"endpoint": endpoint}, {"_id": 1}, session=session)
            names = {each["_id"].rpartition("~")[2] for each in found}
        if len(names) >= MOST_REPLAYS:
            raise Unfinished(
                f"the endpoint has {len(names)} replays that are not finished, and may have {MOST_REPLAYS}; "
                "`behind` of the endpoint is what is left to read"
            )

    def begin(
        self,
        endpoint: str,
        starts: Mapping[Partition, int],
        session: ClientSession,
        after: Mapping[str, int] | None = None,
    ) -> Replay:
        """Begin a replay, in a transaction that no other replay of the endpoint is begun beside. ``after``: only
        of changes of these origins with a higher number. Raises Unfinished."""
        self.check(endpoint, session)
        name, total, ranges = secrets.token_hex(6), 0, []
        lanes, feeds = (
            {each["_id"]: each for each in self._database[name].find({"endpoint": endpoint}, session=session)}
            for name in (LANES, FEEDS)
        )
        for partition, start in starts.items():
            lane = lane_id(endpoint, self._topics.short(partition.topic), partition.number)
            known, position = lanes.get(lane), self._feed.position(partition, session) or 0
            # Where nothing is live yet, the range ends where it begins to be.
            end = -1 if known is None else _enqueued(known, feeds.get(lane), position)
            if 0 <= end <= start:
                continue
            total += (end if end >= 0 else position) - start
            made = _range(lane, name, endpoint, partition, start, end)
            if after is not None:
                # A list: origins contain dots.
                made["after"] = [{"origin": origin, "number": number} for origin, number in after.items()]
            ranges.append(made)
        if ranges:
            self._database[RANGES].insert_many(ranges, session=session)
        return Replay(name, max(0, total), ranges)

    def take_over(self, replay: Replay) -> None:
        """What is still queued of the ranges is sent as part of them."""
        with translated():
            for each in replay.ranges:
                lane = each["lane"]
                if each["end"] >= 0:
                    ids = {"$gte": f"{lane}/{each['start']:019d}", "$lt": f"{lane}/{each['end']:019d}"}
                    query: Document = {"_id": ids, "lane": lane, "state": "queued"}
                    if "after" in each:
                        query["$or"] = [
                            {"origin": place["origin"], "number": {"$gt": place["number"]}}
                            for place in each["after"]
                        ]
                    self._database[DELIVERIES].delete_many(query)


def _enqueued(lane: Document, feed: Document | None, position: int) -> int:
    """How far the changes of a lane have been enqueued. What is left of its gap follows."""
    if "start" not in lane:
        return position
    if feed is None or feed["start"] != lane["start"]:
        return int(lane["start"])
    # Fan-out forgets a gap only with the next change.
    return position if feed["next"] >= lane["end"] else int(feed["next"])


def _range(lane: str, name: str, endpoint: str, partition: Partition, start: int, end: int) -> Document:
    return {
        "_id": f"{lane}~{name}",
        "endpoint": endpoint,
        "lane": lane,
        "topic": partition.topic,
        "partition": partition.number,
        "start": start,
        "next": start,
        "end": end,
        "at": 0,
    }
