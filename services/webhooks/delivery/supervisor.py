"""Runs the senders of a process: leases endpoints, starts and ends a sender for each, and feeds their queues."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
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
from shared.http.contention import Contention
from shared.http.fair_pool import FairPool
from shared.http.processor import Processor
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Requests under way at once, of all endpoints; half of them of one tenant's.
MOST_UNDER_WAY = 200
_THREADS = 8
_LOOK_SECONDS = 1.0
#: How often those are searched for that are idle, and for which another process has enqueued.
_SEARCH_SECONDS = 0.25
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
        #: The part of a processor that the senders' thread gets of what it wants.
        self._speed: Callable[[], float] = lambda: 1.0
        # Apart, so that what a tenant's queues take does not keep it from sending.
        self._processor, reading = (Processor(speed=lambda: self._speed()) for _ in range(2))
        self._pool = FairPool("webhooks", _THREADS, Most(LARGEST, LARGEST, LARGEST), processor=reading)
        # The process's own work, such as its leases, waits for nobody's queue.
        self._own = FairPool("webhooks-own", 1, Most(LARGEST, LARGEST, LARGEST))
        self._running: dict[str, _Running] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._filler = QueueFiller(
            queue,
            feed,
            open_log,
            metrics,
            ended=self._stopping.is_set,
            arrived=self.arrived,
        )
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

    def arrived(self, endpoints: Mapping[str, Collection[str]]) -> None:
        """Something was enqueued for these, of these subjects: of any, where none is named. Those that other
        processes send for are searched for by these. Any thread may call it."""
        if self._loop is not None and endpoints:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._wake, endpoints)

    def _wake(self, endpoints: Mapping[str, Collection[str]]) -> None:
        for id, subjects in endpoints.items():
            if (running := self._running.get(id)) is not None:
                running.sender.arrived(subjects)

    def _work(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        client = HttpClient(self._allowed)
        # Apart: a tenant with much to tell holds up nobody's queue.
        filling, telling = BackgroundCall("feed of webhooks"), BackgroundCall("telling of applications")
        threads = self._threads
        context = SenderContext(
            self._queue,
            self._renderer,
            client,
            self._metrics,
            threads,
            TenantSemaphore(MOST_UNDER_WAY),
            self._processor,
        )
        self._loop = asyncio.get_running_loop()
        self._speed = Contention(Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")).share
        try:
            while not self._stopping.is_set():
                try:
                    if not self._ready():
                        stored = await threads(self._queue.endpoints)
                        await self._lease(await threads(lambda: self._served(stored)), context)  # noqa: B023
                        own = [each.sender.endpoint for each in self._running.values()]
                        filling.run(partial(self._filler.fill, own))
                        telling.run(partial(self._tell, stored))
                    end = self._loop.time() + _LOOK_SECONDS
                    while self._loop.time() < end:
                        await asyncio.sleep(_SEARCH_SECONDS)
                        await self._search()
                except (Unavailable, Stale) as error:
                    log.warning("webhooks wait for a server: %s", error)
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for each in self._running.values():
                each.task.cancel()
            await asyncio.gather(*(each.task for each in self._running.values()), return_exceptions=True)
            await self._release()
            await client.close()
            self._pool.close()
            self._own.close()
            filling.close()
            telling.close()

    async def _search(self) -> None:
        """Wake those that are idle although something is queued for them: one request for all of them, which need
        not look themselves each second."""
        if idle := [id for id, running in self._running.items() if running.sender.idle]:
            for id in await self._threads(lambda: self._queue.filled(idle)):
                if (running := self._running.get(id)) is not None:
                    running.sender.seen()

    def _threads_of(self, tenant: str, key: str) -> Callable[[Callable[[], Any]], Awaitable[Any]]:
        """Runs blocking calls in turns: between tenants, then between their endpoints."""
        return lambda call: self._pool.run(Owner(tenant, key), call)

    async def _threads(self, call: Callable[[], Any]) -> Any:
        return await self._own.run(Owner("", self._process), call)

    async def _release(self) -> None:
        """Let other processes send at once."""
        try:
            await self._threads(lambda: self._leases.release([*self._running, self._process]))
        except (Unavailable, Stale):
            log.warning("leases of webhook endpoints are not released; they end after %s", LEASE)

    @property
    def _process(self) -> str:
        return process_lease(self._owner)

    async def _lease(self, endpoints: Sequence[Document], context: SenderContext) -> None:
        """Renew, take and give up leases, so that the processes have equal shares."""
        wanted = {each["_id"]: each for each in endpoints}
        # What it remembers of the queue is not what it may send, if that has changed.
        changed = [
            id
            for id, running in self._running.items()
            if (served := wanted.get(id)) is None
            or served.get("only_told") != running.sender.endpoint.get("only_told")
        ]
        await self._end(changed)
        now = time.monotonic()
        if now - self._renewed >= _RENEW_SECONDS:
            held = await self._take([self._process, *self._running])
            for id in held.keys() & self._running.keys():
                self._running[id].until = held[id]
            await self._end([id for id in self._running if id not in held])
            self._renewed = now
        share = await self._share(len(wanted))
        if beyond := list(self._running)[share:]:
            await self._end(beyond)
            await self._threads(lambda: self._leases.release(beyond))
        for id in self._running.keys() & wanted.keys():
            self._running[id].sender.refresh(wanted[id])
        free = [id for id in wanted if id not in self._running]
        if free and (room := share - len(self._running)) > 0:
            # Not one after the other: where the others hold thousands, leases would not be renewed meanwhile.
            others = await self._threads(self._leases.others)
            for id, until in (await self._take([id for id in free if id not in others][:room])).items():
                self._begin(wanted[id], context, until)
        self._metrics.sending.set(len(self._running))

    async def _take(self, ids: Sequence[str]) -> dict[str, float]:
        """The leases that are held now, of these, and until when they surely are."""
        taken = time.monotonic()
        held = await self._threads(lambda: self._leases.take(ids))
        return dict.fromkeys(held, taken + LEASE.total_seconds() / 2)

    async def _share(self, endpoints: int) -> int:
        held = await self._threads(self._leases.owners)
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

    async def _end(self, ids: Sequence[str]) -> None:
        # One that has failed is gone already.
        tasks = [running.task for id in ids if (running := self._running.pop(id, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
