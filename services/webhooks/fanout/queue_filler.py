"""Fills the queues of endpoints from their gaps and replays, and does what queues need now and then: it deletes
what is not kept any longer, encrypts headers of before, and enqueues the notices of disabled endpoints."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from services.webhooks.delivery.queue import Changes, Queue
from services.webhooks.delivery.sender import MOST_QUEUED
from services.webhooks.fanout.feed import Feed, Part
from services.webhooks.log_reader import LogReader
from services.webhooks.messages.notice import disabled_notices
from services.webhooks.metrics import SenderMetrics
from services.webhooks.round_robin import RoundRobin, each_of
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Owner
from shared.http.processor import Processor
from shared.runtime.clock import now
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_PURGE_SECONDS = 600.0
#: However many endpoints a tenant has, so many deliveries are queued for each.
_LEAST_QUEUED = 40
#: Pieces that are fed in one turn of one endpoint.
_PIECES = 10
#: How long the endpoints of one tenant are fed before those of the next one.
_SLICE_SECONDS = 0.3
#: How long endpoints are fed again and again, before those whose queue was half full are looked at anew.
_ROUNDS_SECONDS = 2.0
#: Whose turn of the processor it is, beside the endpoints; and the longest time to wait for one at a time.
_FEED, _PAUSE_SECONDS = "feed", 0.1
_IDLE = Owner("", _FEED)


class QueueFiller:
    """Blocks; for one thread at a time."""

    def __init__(
        self,
        queue: Queue,
        feed: Callable[[Callable[[], LogReader]], Feed],
        open_log: Callable[[], LogReader],
        metrics: SenderMetrics,
        seconds: float = _SLICE_SECONDS,
        rounds_seconds: float = _ROUNDS_SECONDS,
        ended: Callable[[], bool] = lambda: False,
        arrived: Callable[[Mapping[str, Collection[str]]], None] = lambda _: None,
        processor: Processor | None = None,
    ) -> None:
        """``seconds``: how long new work is begun for the endpoints of one tenant at a time; ``rounds_seconds``:
        how long a new round through all of them is begun. ``ended`` says whether the process is about to end;
        ``arrived`` is called with the endpoints for which something was enqueued. ``processor`` says whose turn it
        is: while others are to be fed, too, a tenant is fed for its share of the time."""
        self._seconds, self._rounds_seconds, self._ended = seconds, rounds_seconds, ended
        self._arrived, self._processor = arrived, processor or Processor()
        self._queue, self._open_log, self._metrics = queue, open_log, metrics
        self._log_reader: LogReader | None = None
        self._feed = feed(self._reader)
        self._began, self._purged = time.monotonic(), -1e9
        self._turns: dict[str, RoundRobin] = defaultdict(lambda: RoundRobin(seconds))
        #: Of each endpoint, the last part that was fed: of ranges (False), and of what is live (True).
        self._fed: dict[str, dict[bool, str]] = {}
        #: The endpoints that had a replay at the last look.
        self._replayed: set[str] = set()

    def fill(self, endpoints: Sequence[Document]) -> None:
        """Feed the endpoints that this process sends for, as they are served. Raises Unavailable."""
        try:
            self._rounds(endpoints)
        except Unavailable:
            if self._log_reader is not None:
                self._log_reader.close()
                self._log_reader = None
            raise
        moment = time.monotonic()
        if moment - self._purged > _PURGE_SECONDS and not self._ended():
            # Before the work: what it fails at is not done each second.
            self._purged = moment
            self._queue.purge(now())
            if moment - self._began > _PURGE_SECONDS:
                # Not at once: a process of the version before, which is about to end, sends the plain ones.
                self._queue.seal_headers()

    def _reader(self) -> LogReader:
        if self._log_reader is None:
            self._log_reader = self._open_log()
        return self._log_reader

    def _rounds(self, endpoints: Sequence[Document]) -> None:
        """Feed until nothing is left, or for some seconds. A tenant whose endpoints have much to read holds up no
        other one's: the slice of each decides who is next, and not how much is fed."""
        left: dict[str, dict[str, Document]] = {}
        for endpoint in endpoints:
            left.setdefault(endpoint["tenant"], {})[endpoint["_id"]] = endpoint
        for tenant in self._turns.keys() - left.keys():
            del self._turns[tenant]
        for id in self._fed.keys() - {endpoint["_id"] for endpoint in endpoints}:
            del self._fed[id]
        # What waits for a tenant waits in Kafka: only what may be sent soon is read again and stored.
        most = {tenant: max(_LEAST_QUEUED, MOST_QUEUED // len(own)) for tenant, own in left.items()}
        began = time.monotonic()
        left = self._wanting(left, most)
        if len(left) < len(most):
            # Whoever has nothing to feed wants no share: all of them together count as one.
            self._processor.spent(_IDLE, time.monotonic() - began)
        end = time.monotonic() + self._rounds_seconds
        while left:
            soonest = min(self._processor.wait_seconds(Owner(tenant, _FEED)) for tenant in left)
            if soonest > 0:
                time.sleep(min(soonest, _PAUSE_SECONDS))
            for tenant, own in left.items():
                if self._ended():
                    return
                if self._processor.wait_seconds(owner := Owner(tenant, _FEED)) > 0:
                    continue
                began = time.monotonic()
                turn = partial(self._turn, own, most[tenant])
                each_of(self._turns[tenant].of(own), turn, "the feed of webhooks")
                # Not of a processor alone: meanwhile it occupies Kafka and MongoDB, which others want, too.
                self._processor.spent(owner, time.monotonic() - began)
            left = {tenant: own for tenant, own in left.items() if own}
            # Between rounds only, so that each has the same number of them.
            if time.monotonic() >= end:
                return

    def _wanting(
        self, tenants: Mapping[str, dict[str, Document]], most: Mapping[str, int]
    ) -> dict[str, dict[str, Document]]:
        """The endpoints for which there is something to do, by tenant. As many requests for any number of them:
        most have nothing, each second."""
        ids = [id for own in tenants.values() for id, endpoint in own.items() if not endpoint.get("only_told")]
        self._replayed = self._feed.replayed()
        unfed, lengths = self._feed.unfed(ids), self._queue.lengths(ids)

        def wants(tenant: str, id: str, endpoint: Document) -> bool:
            if endpoint["state"] != "enabled":
                return bool(endpoint.get("notice"))
            length, full = lengths.get(id, 0), endpoint.get("full", False)
            has_room = length < most[tenant] // 2 and (full or id in unfed)
            return has_room or id in self._replayed or (length >= most[tenant] and not full)

        found = {
            tenant: {id: endpoint for id, endpoint in own.items() if wants(tenant, id, endpoint)}
            for tenant, own in tenants.items()
        }
        return {tenant: own for tenant, own in found.items() if own}

    def _turn(self, own: dict[str, Document], most: int, id: str) -> None:
        # Before its work, so that one whose work fails has no other turn in these rounds.
        endpoint = own.pop(id)
        if self._one(endpoint, most):
            own[id] = endpoint

    def _one(self, endpoint: Document, most: int) -> bool:
        """Feed an endpoint for a while, as long as fewer than half of ``most`` deliveries are queued; returns
        whether it may have more to feed at once."""
        if endpoint.get("only_told"):
            return False
        id = endpoint["_id"]
        length = self._queue.length(id, most)
        full = endpoint.get("full", False)
        if length >= most and not full:
            self._queue.change(id, Changes({"full": True}))
        elif full and length < most // 2:
            self._queue.change(id, Changes(removed={"full"}))
        if endpoint["state"] != "enabled":
            if endpoint.get("notice"):
                self._queue.add(disabled_notices(endpoint, self._queue.endpoints(), now()))
                self._queue.change(id, Changes(removed={"notice"}))
            return False
        if id in self._replayed:
            self._feed.finished_ranges(id)
        if length >= most // 2:
            return False
        parts = self._in_turn(id, self._feed.parts(id))
        end = time.monotonic() + self._seconds
        for part in parts[:_PIECES]:
            if length >= most // 2:
                break
            self._fed.setdefault(id, {})[part.replay is None] = part.key
            lost, queued = self._feed.enqueue(endpoint, part, most - length)
            if lost:
                self._metrics.lost(lost)
                log.error("webhooks: retention has deleted %d changes of %s", lost, part.lane)
            if queued:
                self._arrived({id: ()})
            length += queued
            if time.monotonic() >= end:
                break
        return bool(parts)

    def _in_turn(self, id: str, parts: Sequence[Part]) -> list[Part]:
        """Ranges come before what is live. Of each kind, those come first that follow the last one that was fed:
        where all of them always have something left, each has its turn before retention deletes it."""
        fed = self._fed.get(id, {})

        def order(part: Part) -> tuple[bool, bool, str]:
            live = part.replay is None
            return live, part.key <= fed.get(live, ""), part.key

        return sorted(parts, key=order)
