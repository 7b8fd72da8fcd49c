"""Keeps the queues of endpoints between empty and full, and deletes what is not kept any longer."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.webhooks.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.metrics import SenderMetrics
from services.webhooks.notice import disabled_notices
from services.webhooks.queue import Changes, Queue
from services.webhooks.sender import MOST_QUEUED
from services.webhooks.turns import Turns, each_of
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_PURGE_SECONDS = 600.0
#: Pieces that are fed in one turn of one endpoint.
_PIECES = 10
#: How long the endpoints of one tenant are fed before those of the next one.
_SLICE_SECONDS = 0.3


class Feeding:
    """Blocks; for one thread at a time."""

    def __init__(
        self,
        queue: Queue,
        feed: Callable[[Callable[[], LogReader]], Feed],
        open_log: Callable[[], LogReader],
        metrics: SenderMetrics,
        seconds: float = _SLICE_SECONDS,
    ) -> None:
        """``seconds``: how long new work is begun for the endpoints of one tenant at a time."""
        self._seconds = seconds
        self._queue, self._open_log, self._metrics = queue, open_log, metrics
        self._log_reader: LogReader | None = None
        self._feed = feed(self._reader)
        self._began, self._purged = time.monotonic(), -1e9
        self._turns: dict[str, Turns] = defaultdict(lambda: Turns(seconds))

    def all(self, endpoints: Sequence[Document]) -> None:
        """Feed the endpoints that this process sends for, as they are served. Raises Unavailable."""
        try:
            of_tenant: dict[str, dict[str, Document]] = {}
            for endpoint in endpoints:
                of_tenant.setdefault(endpoint["tenant"], {})[endpoint["_id"]] = endpoint
            for tenant, own in of_tenant.items():
                # A tenant whose endpoints have much to read holds up no other one's.
                each_of(self._turns[tenant].of(own), lambda id: self._one(own[id]), "the feed of webhooks")  # noqa: B023
            for tenant in self._turns.keys() - of_tenant.keys():
                del self._turns[tenant]
            if time.monotonic() - self._purged > _PURGE_SECONDS:
                self._queue.purge(datetime.now(UTC))
                if time.monotonic() - self._began > _PURGE_SECONDS:
                    # Not at once: a process of the version before, which is about to end, sends the plain ones.
                    self._queue.seal_headers()
                self._purged = time.monotonic()
        except Unavailable:
            if self._log_reader is not None:
                self._log_reader.close()
                self._log_reader = None
            raise

    def _reader(self) -> LogReader:
        if self._log_reader is None:
            self._log_reader = self._open_log()
        return self._log_reader

    def _one(self, endpoint: Document) -> None:
        if endpoint.get("only_told"):
            return
        id = endpoint["_id"]
        length = self._queue.length(id, MOST_QUEUED)
        full = endpoint.get("full", False)
        if length >= MOST_QUEUED and not full:
            self._queue.change(id, Changes({"full": True}))
        elif full and length < MOST_QUEUED // 2:
            self._queue.change(id, Changes(removed={"full"}))
        if endpoint["state"] != "enabled":
            if endpoint.get("notice"):
                self._queue.add(disabled_notices(endpoint, self._queue.endpoints(), datetime.now(UTC)))
                self._queue.change(id, Changes(removed={"notice"}))
            return
        self._feed.finished_ranges(id)
        end = time.monotonic() + self._seconds
        for part in self._feed.parts(id)[:_PIECES]:
            if length >= MOST_QUEUED // 2 or time.monotonic() >= end:
                break
            if lost := self._feed.enqueue(endpoint, part):
                self._metrics.lost(lost)
                log.error("webhooks: retention has deleted %d changes of %s", lost, part.lane)
            length = self._queue.length(id, MOST_QUEUED)
