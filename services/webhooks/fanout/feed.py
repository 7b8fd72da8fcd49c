"""Enqueues what fan-out has left out: the gaps of lanes, and the ranges of replays.

A gap is from the offset at which fan-out stopped enqueueing for an endpoint to the one at which it began again; a
range is one that was asked for. Both are read from the change topic in pieces. The deliveries of a piece and the
offset after it are stored in one transaction, so each change is enqueued once.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, FEEDS, LANES, RANGES, delivery, numbers
from services.webhooks.fanout.expressions import Meter
from services.webhooks.fanout.subscription import matches
from services.webhooks.log_reader import LogReader
from services.webhooks.messages.body import body_of
from services.webhooks.projection import WebhooksProjection, has_reached_end
from shared.contracts.changes import read_change
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import Topics
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS
from shared.mongo.transactions import transact
from shared.runtime.protocols import Document, Partition, Record
from shared.runtime.sequence_numbers import SequenceFilter

log = logging.getLogger(__name__)

#: Records of a piece.
PIECE = 500
#: Work of the filter in a piece, some 0.2 s.
FILTER_WORK = 200_000
#: Repetitions of a change follow it within an outbox batch, so this many records before a gap show which changes
#: in it are repetitions of earlier ones.
PRIMER = 5_000


@dataclass(frozen=True, slots=True)
class Part:
    """A gap or a range that is not enqueued yet: [next, end) of a lane. ``stored`` is its document, with ``next``
    as it was read; None when there is none yet."""

    lane: str
    partition: Partition
    start: int
    next: int
    end: int
    at: int
    stored: Document | None
    replay: str | None = None

    @property
    def key(self) -> str:
        """Its own among the parts of all endpoints."""
        return f"{self.lane}~{self.replay or ''}"

    def contains(self, record: Record) -> bool:
        """Whether a record of the part is enqueued: of a replay it may be what follows some places only."""
        if self.stored is None or "after" not in self.stored:
            return True
        place = numbers(record)
        return any(
            each["origin"] == place.get("origin") and place["number"] > each["number"]
            for each in self.stored["after"]
        )


class Feed:
    """Enqueues the parts of endpoints. Not thread-safe. Methods raise Unavailable."""

    def __init__(self, database: Database[Document], log_reader: Callable[[], LogReader], topics: Topics) -> None:
        self._database = durable_database(database)
        self._log_reader, self._topics = log_reader, topics
        self._filters: dict[str, tuple[int, SequenceFilter]] = {}
        #: By partition, an offset up to which repetitions were last looked for, and the numbers seen until there.
        self._primed: dict[Partition, tuple[int, dict[str, int]]] = {}

    def parts(self, endpoint: str) -> list[Part]:
        """What is left to enqueue for an endpoint, ranges first: they come before what is live."""
        with translated():
            lanes = {lane["_id"]: lane for lane in self._database[LANES].find({"endpoint": endpoint})}
            feeds = {feed["_id"]: feed for feed in self._database[FEEDS].find({"endpoint": endpoint})}
            ranges = list(self._database[RANGES].find({"endpoint": endpoint}))
        found = []
        for stored in ranges:
            place = Partition(stored["topic"], stored["partition"])
            end = stored["end"] if stored["end"] >= 0 else self._open_end(lanes.get(stored["lane"]), place)
            replay = stored["_id"].rpartition("~")[2]
            part = Part(stored["lane"], place, stored["start"], stored["next"], end, stored["at"], stored, replay)
            found.append(part)
        for id, lane in lanes.items():
            if "start" not in lane:
                continue
            feed = feeds.get(id)
            if feed is not None and feed["start"] == lane["start"]:
                next, at = feed["next"], feed["at"]
            else:
                next, at = lane["start"], max(lane["at"], 0 if feed is None else feed["at"])
            found.append(Part(id, self._place(id), lane["start"], next, lane["end"], at, feed))
        return [part for part in found if part.next < part.end]

    def unfed(self, endpoints: Collection[str]) -> set[str]:
        """The endpoints, of these, with a gap that is not enqueued whole. As many requests for any number of
        them."""
        with translated():
            gaps = {"endpoint": {"$in": [*endpoints]}, "start": {"$exists": True}}
            lanes = list(self._database[LANES].find(gaps))
            ids = [lane["_id"] for lane in lanes]
            feeds = {feed["_id"]: feed for feed in self._database[FEEDS].find({"_id": {"$in": ids}})}
        return {lane["endpoint"] for lane in lanes if not has_reached_end(lane, feeds.get(lane["_id"]))}

    def replayed(self) -> set[str]:
        """The endpoints with a replay that is not enqueued whole, or was not when it was last looked at."""
        with translated():
            return {*self._database[RANGES].distinct("endpoint")}

    def finished_ranges(self, endpoint: str) -> None:
        """Delete the ranges that are enqueued whole."""
        with translated():
            for stored in list(self._database[RANGES].find({"endpoint": endpoint, "end": {"$gte": 0}})):
                if stored["next"] >= stored["end"]:
                    self._database[RANGES].delete_one({"_id": stored["_id"], "next": stored["next"]})
            lanes = {lane["_id"]: lane for lane in self._database[LANES].find({"endpoint": endpoint})}
            for stored in list(self._database[RANGES].find({"endpoint": endpoint, "end": -1})):
                lane = lanes.get(stored["lane"])
                if lane is not None and stored["next"] >= lane["since"]:
                    self._database[RANGES].delete_one({"_id": stored["_id"], "next": stored["next"]})

    def enqueue(self, endpoint: Document, part: Part, most: int = PIECE) -> tuple[int, int]:
        """Enqueue the next piece of a part, ``most`` deliveries of it. Returns how many changes retention has
        deleted from it, and how many deliveries were enqueued."""
        reader = self._log_reader()
        lost, begin = 0, part.next
        if (first := reader.first(part.partition)) > begin:
            lost, begin = min(first, part.end) - begin, min(first, part.end)
        sequence = self._sequence(part, begin, first, reader)
        records, after = reader.read(part.partition, begin, part.end, PIECE) if begin < part.end else ([], begin)
        queued, at, meter = [], part.at, Meter(FILTER_WORK)
        for record, change in _accepted(records, sequence):
            if change["tenant"] != endpoint["tenant"] or not part.contains(record):
                continue
            body = body_of(change, endpoint["masks"]) if "filter" in endpoint else {}
            if matches(endpoint, change, body, meter):
                at = max(at, record.timestamp)
                made = delivery(part.lane, record, change, endpoint, at)
                if part.replay is not None:
                    made |= {"_id": f"{made['_id']}~{part.replay}", "replay": part.replay}
                queued.append(made)
            if meter.left <= 0 or len(queued) >= most:
                # The rest is the next piece, after those of other tenants.
                after = record.offset + 1
                break
        self._store(endpoint["_id"], part, queued, after, at)
        self._filters[part.key] = (after, sequence)
        return lost, len(queued)

    def _sequence(self, part: Part, begin: int, first: int, reader: LogReader) -> SequenceFilter:
        known = self._filters.pop(part.key, None)
        if known is not None and known[0] == begin:
            return known[1]
        primer = max(first, begin - PRIMER)
        # The gaps of a tenant's endpoints begin at the same place: one reads for all of them.
        place, seen = self._primed.get(part.partition, (-1, {}))
        if not primer <= place <= begin:
            place, seen = primer, {}
        sequence = SequenceFilter({**seen}, trimmed=True)
        while place < begin:
            records, place = reader.read(part.partition, place, begin, PIECE)
            for record in records:
                with suppress(InvalidEvent):
                    sequence.accept(record)
        self._primed[part.partition] = begin, {**sequence.seen}
        return sequence

    def _store(self, endpoint: str, part: Part, queued: list[Document], after: int, at: int) -> None:
        """Store the deliveries and the progress, unless another process has stored this piece."""

        def transaction(session: ClientSession) -> None:
            if part.replay is not None:
                assert part.stored is not None
                match: Document = {"_id": part.stored["_id"], "next": part.next}
                moved = self._database[RANGES].update_one(
                    match, {"$set": {"next": after, "at": at}}, session=session
                )
                if not moved.matched_count:
                    return
            else:
                progress = {"endpoint": endpoint, "start": part.start, "next": after, "at": at}
                if part.stored is None:
                    self._database[FEEDS].insert_one({"_id": part.lane, **progress}, session=session)
                else:
                    match = {name: part.stored[name] for name in ("_id", "start", "next")}
                    moved = self._database[FEEDS].replace_one(
                        match, {"_id": part.lane, **progress}, session=session
                    )
                    if not moved.matched_count:
                        return
            if queued:
                self._database[DELIVERIES].insert_many(queued, session=session)

        transact(self._database, transaction)

    def position(self, partition: Partition, session: ClientSession | None = None) -> int | None:
        """How far fan-out has folded a partition; None if nothing of it."""
        id = f"{WebhooksProjection.name}@{WebhooksProjection.version}/{partition}"
        with translated():
            found = self._database[POSITIONS].find_one({"_id": id}, {"next": 1}, session=session)
        return None if found is None else found.get("next")

    def _open_end(self, lane: Document | None, partition: Partition) -> int:
        """The end of a range before everything that is live: where its lane begins. Without a lane, fan-out has
        enqueued nothing of what it has folded."""
        if lane is not None:
            return int(lane["since"])
        return self.position(partition) or 0

    def _place(self, lane: str) -> Partition:
        _, short, number = lane.rsplit("/", 2)
        return Partition(self._topics.name(short), int(number))


def _accepted(records: Iterable[Record], sequence: SequenceFilter) -> Iterable[tuple[Record, Document]]:
    """The changes that a reader of these records counts. Bad ones are dead letters of fan-out already."""
    for record in records:
        try:
            if sequence.accept(record):
                yield record, read_change(record.value)
        except InvalidEvent:
            continue
