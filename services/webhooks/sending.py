"""Runs the senders of a process: leases endpoints, starts and ends a sender for each, and feeds their queues."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from services.webhooks.addresses import Network
from services.webhooks.feed import Feed
from services.webhooks.leases import LEASE, Leases
from services.webhooks.log_reader import LogReader
from services.webhooks.metrics import SenderMetrics
from services.webhooks.notice import disabled_notices
from services.webhooks.places import Places
from services.webhooks.post import Poster
from services.webhooks.queue import Changes, Queue
from services.webhooks.rendering import Renderer
from services.webhooks.sender import MOST_QUEUED, Parts, Sender
from shared.contracts.errors import Stale, Unavailable
from shared.contracts.limits import LARGEST, Most, Owner
from shared.http.fair_pool import FairPool
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Requests under way at once, of all endpoints; half of them of one tenant's.
MOST_UNDER_WAY = 200
_THREADS = 8
_LOOK_SECONDS = 1.0
_RENEW_SECONDS = LEASE.total_seconds() / 6
_PURGE_SECONDS = 600.0
_STOP_SECONDS = 5.0
#: Pieces that are fed in one turn of one endpoint.
_PIECES = 10


@dataclass(slots=True)
class _Running:
    sender: Sender
    task: "asyncio.Task[None]"
    #: Until when, by the monotonic clock, the lease is surely held.
    until: float


class Sending:
    """A background part: everything happens on its own thread and event loop."""

    def __init__(
        self,
        queue: Queue,
        leases: Leases,
        feed: Callable[[Callable[[], LogReader]], Feed],
        open_log: Callable[[], LogReader],
        renderer: Renderer,
        metrics: SenderMetrics,
        owner: str,
        allowed: Sequence[Network],
        ready: Callable[[], Sequence[str]] = list,
        served: Callable[[Sequence[Document]], list[Document]] = list,
        tell: Callable[[Sequence[Document]], None] = lambda _: None,
    ) -> None:
        """``served`` makes of the stored endpoints those that are sent to; ``tell`` brings on what applications
        are told. Both are called every second."""
        self._queue, self._leases, self._renderer, self._metrics = queue, leases, renderer, metrics
        self._owner, self._allowed, self._ready, self._served = owner, allowed, ready, served
        self._open_log, self._tell = open_log, tell
        self._log_reader: LogReader | None = None
        self._feed = feed(self._reader)
        self._pool = FairPool("webhooks", _THREADS, Most(LARGEST, LARGEST, LARGEST))
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._renewed = self._purged = -1e9

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def problems(self) -> list[str]:
        """Why nothing is sent; empty while senders work."""
        return [] if self._thread.is_alive() or not self._thread.ident else ["the senders of webhooks have ended"]

    def _work(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        poster = Poster(self._allowed)
        feeding = ThreadPoolExecutor(1, thread_name_prefix="webhook-feed")
        loop = asyncio.get_running_loop()

        threads = self._threads_of("", self._process)
        parts = Parts(self._queue, self._renderer, poster, self._metrics, threads, Places(MOST_UNDER_WAY))
        fed: asyncio.Future[Any] | None = None
        try:
            while not self._stopping.is_set():
                try:
                    if not self._ready():
                        stored = await threads(self._queue.endpoints)
                        await self._lease(await threads(lambda: self._served(stored)), parts)  # noqa: B023
                        if fed is None or fed.done():
                            if fed is not None:
                                _report(fed)
                            own = [each.sender for each in self._running.values()]
                            fed = loop.run_in_executor(feeding, self._feed_all, own, stored)
                except (Unavailable, Stale) as error:
                    log.warning("webhooks wait for a server: %s", error)
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for each in self._running.values():
                each.task.cancel()
            await asyncio.gather(*(each.task for each in self._running.values()), return_exceptions=True)
            await self._release(threads)
            await poster.close()
            self._pool.close()
            feeding.shutdown(wait=False, cancel_futures=True)

    def _threads_of(self, tenant: str, key: str) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
        """Runs blocking calls in turns: between tenants, then between their endpoints. The process is one of
        them, so that its leases do not wait for anybody's queue."""
        return lambda call: self._pool.run(Owner(tenant, key), call)

    async def _release(self, threads: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Let other processes send at once."""
        try:
            for id in (*self._running, self._process):
                await threads(lambda id=id: self._leases.release(id))  # type: ignore[misc]
        except (Unavailable, Stale):
            log.warning("leases of webhook endpoints are not released; they end after %s", LEASE)

    @property
    def _process(self) -> str:
        return f"process/{self._owner}"

    async def _lease(self, endpoints: Sequence[Document], parts: Parts) -> None:
        """Renew, take and give up leases, so that the processes have equal shares."""
        wanted = {each["_id"]: each for each in endpoints}
        for id, running in list(self._running.items()):
            # What it remembers of the queue is not what it may send, if that has changed.
            served = wanted.get(id)
            if served is None or served.get("only_told") != running.sender.endpoint.get("only_told"):
                await self._end(id)
        now = time.monotonic()
        if now - self._renewed >= _RENEW_SECONDS:
            taken = time.monotonic()
            await parts.threads(lambda: self._leases.take(self._process))
            for id, running in list(self._running.items()):
                if await parts.threads(lambda id=id: self._leases.take(id)):  # type: ignore[misc]
                    running.until = taken + LEASE.total_seconds() / 2
                else:
                    await self._end(id)
            self._renewed = now
        share = await self._share(len(wanted), parts)
        for id in list(self._running)[share:]:
            await self._end(id)
            await parts.threads(lambda id=id: self._leases.release(id))  # type: ignore[misc]
        for id, endpoint in wanted.items():
            if id in self._running:
                self._running[id].sender.refresh(endpoint)
            elif len(self._running) < share:
                taken = time.monotonic()
                if await parts.threads(lambda id=id: self._leases.take(id)):  # type: ignore[misc]
                    self._begin(endpoint, parts, taken + LEASE.total_seconds() / 2)
        self._metrics.sending.set(len(self._running))

    async def _share(self, endpoints: int, parts: Parts) -> int:
        held = await parts.threads(self._leases.owners)
        return -(-endpoints // max(1, len({*held, self._owner})))

    def _begin(self, endpoint: Document, parts: Parts, until: float) -> None:
        id = endpoint["_id"]

        def may_send() -> bool:
            running = self._running.get(id)
            return running is not None and time.monotonic() < running.until

        own = replace(parts, threads=self._threads_of(endpoint["tenant"], id))
        sender = Sender(endpoint, own, may_send)
        # It is ended, and another one begun, by the next look if it fails.
        task = asyncio.create_task(sender.run(), name=f"webhooks {id}")
        task.add_done_callback(lambda done: self._ended(id, done))
        self._running[id] = _Running(sender, task, until)

    def _ended(self, id: str, task: "asyncio.Task[None]") -> None:
        if (running := self._running.get(id)) is not None and running.task is task:
            del self._running[id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the sender of a webhook endpoint failed; it begins again", exc_info=error)

    async def _end(self, id: str) -> None:
        running = self._running.pop(id)
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)

    def _reader(self) -> LogReader:
        if self._log_reader is None:
            self._log_reader = self._open_log()
        return self._log_reader

    def _feed_all(self, senders: Sequence[Sender], stored: Sequence[Document]) -> None:
        """Keep the queues of these endpoints between empty and full, and tell applications. Runs on a thread of
        its own."""
        try:
            self._tell_all(stored)
            for sender in senders:
                self._feed_one(sender)
            if time.monotonic() - self._purged > _PURGE_SECONDS:
                self._queue.purge(datetime.now(UTC))
                self._purged = time.monotonic()
        except Unavailable:
            if self._log_reader is not None:
                self._log_reader.close()
                self._log_reader = None
            raise

    def _tell_all(self, stored: Sequence[Document]) -> None:
        try:
            self._tell(stored)
        except Stale:
            log.debug("another process has told applications at the same moment")
        except Unavailable:
            raise
        except Exception:
            # Deliveries must not wait for it.
            log.exception("telling applications failed; it is tried again")

    def _feed_one(self, sender: Sender) -> None:
        endpoint = sender.endpoint
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
        parts = self._feed.parts(id)
        for part in parts[:_PIECES]:
            if length >= MOST_QUEUED // 2:
                break
            if lost := self._feed.enqueue(endpoint, part):
                self._metrics.lost(lost)
                log.error("webhooks: retention has deleted %d changes of %s", lost, part.lane)
            length = self._queue.length(id, MOST_QUEUED)


def _report(fed: "asyncio.Future[Any]") -> None:
    error = fed.exception()
    if isinstance(error, Unavailable | Stale):
        log.warning("the feed of webhooks waits for a server: %s", error)
    elif error is not None:
        log.error("the feed of webhooks failed; it begins again", exc_info=error)
