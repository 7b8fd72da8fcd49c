"""Runs the senders of a process: leases endpoints, starts and ends a sender for each, and feeds their queues."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from services.webhooks.delivery.addresses import Network
from services.webhooks.delivery.background import BackgroundCall
from services.webhooks.delivery.http_client import HttpClient
from services.webhooks.delivery.leases import LEASE, Leases, process_lease
from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.sender import Sender, SenderContext
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.fanout.feed import Feed
from services.webhooks.fanout.queue_filler import QueueFiller
from services.webhooks.log_reader import LogReader
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
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
_STOP_SECONDS = 5.0


@dataclass(slots=True)
class _Running:
    sender: Sender
    task: "asyncio.Task[None]"
    #: Until when, by the monotonic clock, the lease is surely held.
    until: float


class Supervisor:
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
        *,
        ready: Callable[[], Sequence[str]],
        served: Callable[[Sequence[Document]], list[Document]],
        tell: Callable[[Sequence[Document]], None] = lambda _: None,
    ) -> None:
        """Nothing is leased while ``ready`` returns problems. ``served`` makes of the stored endpoints those that
        are sent to; ``tell`` brings on what applications are told. All are called every second."""
        self._queue, self._leases, self._renderer, self._metrics = queue, leases, renderer, metrics
        self._owner, self._allowed, self._ready, self._served = owner, allowed, ready, served
        self._tell = tell
        self._pool = FairPool("webhooks", _THREADS, Most(LARGEST, LARGEST, LARGEST))
        self._running: dict[str, _Running] = {}
        self._stopping = threading.Event()
        self._filler = QueueFiller(queue, feed, open_log, metrics, ended=self._stopping.is_set)
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._renewed = -1e9

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
        client = HttpClient(self._allowed)
        # Apart: a tenant with much to tell holds up nobody's queue.
        filling, telling = BackgroundCall("feed of webhooks"), BackgroundCall("telling of applications")
        threads = self._threads_of("", self._process)
        context = SenderContext(
            self._queue, self._renderer, client, self._metrics, threads, TenantSemaphore(MOST_UNDER_WAY)
        )
        try:
            while not self._stopping.is_set():
                try:
                    if not self._ready():
                        stored = await threads(self._queue.endpoints)
                        await self._lease(await threads(lambda: self._served(stored)), context)  # noqa: B023
                        own = [each.sender.endpoint for each in self._running.values()]
                        filling.run(partial(self._filler.fill, own))
                        telling.run(partial(self._tell, stored))
                except (Unavailable, Stale) as error:
                    log.warning("webhooks wait for a server: %s", error)
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for each in self._running.values():
                each.task.cancel()
            await asyncio.gather(*(each.task for each in self._running.values()), return_exceptions=True)
            await self._release(threads)
            await client.close()
            self._pool.close()
            filling.close()
            telling.close()

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
        return process_lease(self._owner)

    async def _lease(self, endpoints: Sequence[Document], context: SenderContext) -> None:
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
            await context.threads(lambda: self._leases.take(self._process))
            for id, running in list(self._running.items()):
                if await context.threads(lambda id=id: self._leases.take(id)):  # type: ignore[misc]
                    running.until = taken + LEASE.total_seconds() / 2
                else:
                    await self._end(id)
            self._renewed = now
        share = await self._share(len(wanted), context)
        for id in list(self._running)[share:]:
            await self._end(id)
            await context.threads(lambda id=id: self._leases.release(id))  # type: ignore[misc]
        for id, endpoint in wanted.items():
            if id in self._running:
                self._running[id].sender.refresh(endpoint)
            elif len(self._running) < share:
                taken = time.monotonic()
                if await context.threads(lambda id=id: self._leases.take(id)):  # type: ignore[misc]
                    self._begin(endpoint, context, taken + LEASE.total_seconds() / 2)
        self._metrics.sending.set(len(self._running))

    async def _share(self, endpoints: int, context: SenderContext) -> int:
        held = await context.threads(self._leases.owners)
        return -(-endpoints // max(1, len({*held, self._owner})))

    def _begin(self, endpoint: Document, context: SenderContext, until: float) -> None:
        id = endpoint["_id"]

        def may_send() -> bool:
            running = self._running.get(id)
            return running is not None and time.monotonic() < running.until

        own = replace(context, threads=self._threads_of(endpoint["tenant"], id))
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
