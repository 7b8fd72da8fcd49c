"""Sends the deliveries of one endpoint, in order within each subject. ``subjects.py`` decides what comes next,
``health.py`` how many attempts the endpoint gets and when it is disabled."""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from services.webhooks.applications import application_of, must_wait
from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.health import Health
from services.webhooks.delivery.http_client import TENANT, Answer
from services.webhooks.delivery.queue import Queue, Settled, entry_of
from services.webhooks.delivery.rate_limits import RateLimits
from services.webhooks.delivery.subjects import WINDOW, Subjects
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.messages.rendering import Opened, Rendered, Renderer
from services.webhooks.metrics import SenderMetrics
from shared.contracts.errors import Stale, Unavailable
from shared.contracts.limits import Owner
from shared.http.processor import Processor
from shared.runtime.clock import now
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Requests of one endpoint under way at once.
CONCURRENCY = 16
#: Queued deliveries of a tenant's endpoints for which one process sends. Beyond its part of them fan-out stops
#: enqueueing for an endpoint, and below half of that it goes on. Feeds look once a second, and a process sends
#: less than half of it in that time.
MOST_QUEUED = 4_000
#: Between two looks at what is due, and where there is nothing that a look could find.
_IDLE_SECONDS, _REST_SECONDS = 0.2, 1.0
#: What the event loop needs for an attempt.
_ATTEMPT_SECONDS = 0.001
_MOST_UNSTORED = 1_000
_SECRETS_SECONDS = 5.0
_TROUBLE_SECONDS = 1.0
_LONGEST_TROUBLE = 10.0
#: Between two deliveries of an endpoint that are given up because its template fails on them.
_GIVING_UP = timedelta(seconds=0.25)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Transport(Protocol):
    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer: ...


@dataclass(slots=True)
class SenderContext:
    """What the senders of a process share. ``threads`` runs a blocking call; ``clock`` returns the present."""

    queue: Queue
    renderer: Renderer
    client: Transport
    metrics: SenderMetrics
    threads: Callable[[Callable[[], Any]], Awaitable[Any]]
    under_way: TenantSemaphore
    processor: Processor = field(default_factory=Processor)
    #: By tenant: for whoever of it waits for its share of the processor.
    turns: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    rate_limits: RateLimits = field(default_factory=RateLimits)
    clock: Callable[[], datetime] = now
    jitter: Callable[[], float] = random.random


class Sender:
    """Sends for ``endpoint`` until it is stopped. ``may_send`` says whether the lease is still held."""

    def __init__(self, endpoint: Document, context: SenderContext, may_send: Callable[[], bool]) -> None:
        self.endpoint = endpoint
        self._context, self._may_send = context, may_send
        self._health = Health(endpoint)
        self._subjects = Subjects(endpoint["_id"], context.queue, context.threads, context.clock)
        self._settled: list[tuple[Settled, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        self._opened: tuple[float, Opened] = (-1e9, Opened([]))
        #: The deliveries that the template has failed on, which wait to be given up; and when the next one may be.
        self._failed_on: set[str] = set()
        self._give_up_at = _LONG_AGO

    def refresh(self, endpoint: Document) -> None:
        """Take over what the API has changed."""
        if endpoint["revision"] != self.endpoint["revision"]:
            self._health.renew()
            self._subjects.renew()
            self._opened = (-1e9, Opened([]))
            self._failed_on.clear()
            self._give_up_at = _LONG_AGO
            self._wake.set()
        self.endpoint = endpoint

    def arrived(self, subjects: Collection[str] = ()) -> None:
        """Something was enqueued for the endpoint: of these subjects, or of any."""
        # Of one that is only told, a subject may begin with what is not sent.
        self._subjects.arrived(() if self.endpoint.get("only_told") else subjects)
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether it would send, and knows of nothing to send."""
        served = self.endpoint["state"] == "enabled" and not self.endpoint.get("only_told")
        return served and self._subjects.idle

    def seen(self) -> None:
        """Something is queued for the endpoint, if only what may not be sent yet."""
        self._subjects.seen = True
        self._wake.set()

    async def run(self) -> None:
        """Ends when it is cancelled, once what was sent is stored as far as possible."""
        # For all tasks that begin here: names are resolved in turns between tenants.
        TENANT.set(self.endpoint["tenant"])
        both = [asyncio.create_task(part) for part in (self._while_up(self._store_all), self._load_and_send())]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            # It has failed. The other one must not go on alone, and send what is never stored.
            for task in ended:
                task.result()
        finally:
            for task in (*both, *self._tasks):
                task.cancel()
            await asyncio.gather(*both, *self._tasks, return_exceptions=True)
            await asyncio.shield(self._store_last())

    async def _while_up(self, work: Callable[[], Awaitable[object]], *, once: bool = False) -> None:
        """Do ``work`` again and again, or until it is done, and wait while a server is unavailable."""
        trouble = 0
        while True:
            try:
                await work()
                if once:
                    return
                trouble = 0
            except (Unavailable, Stale) as error:
                trouble += 1
                level = logging.WARNING if trouble == 1 else logging.DEBUG
                log.log(level, "webhooks wait for a server: %s", error)
                await asyncio.sleep(min(_TROUBLE_SECONDS * trouble, _LONGEST_TROUBLE))

    async def _load_and_send(self) -> None:
        await self._while_up(self._load, once=True)
        await self._while_up(self._send)

    async def _load(self) -> None:
        await self._subjects.load(only_told=bool(self.endpoint.get("only_told")))

    async def _send(self) -> None:
        self._wake.clear()
        if self._may_send() and self.endpoint["state"] == "enabled" and await self._start():
            return
        await _woken(self._wake, _REST_SECONDS if self.idle else _IDLE_SECONDS)

    async def _store_all(self) -> None:
        self._ended.clear()
        if self._settled:
            await self._store()
        else:
            await _woken(self._ended, _REST_SECONDS)

    async def _store_last(self) -> None:
        try:
            while self._settled:
                await self._store()
        except (Unavailable, Stale) as error:
            log.warning("outcomes of webhooks are not stored, their deliveries are repeated: %s", error)

    async def _start(self) -> bool:
        """Start what can be started; False if there was nothing."""
        now, subjects = asyncio.get_running_loop().time(), self._subjects
        room = min(self._health.room(CONCURRENCY, now) - len(self._tasks), _MOST_UNSTORED - len(self._settled))
        if room <= 0:
            return False
        await self._what_is_sealed()
        await subjects.find(now, only_told=bool(self.endpoint.get("only_told")))
        started = subjects.take(room)
        for delivery in started:
            task = asyncio.create_task(self._attempt(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return bool(started) or subjects.more

    async def _what_is_sealed(self) -> Opened:
        """Decrypted now and then: its key may be destroyed, and a secret may have ended."""
        now, (at, opened) = asyncio.get_running_loop().time(), self._opened
        if now - at > _SECRETS_SECONDS:
            endpoint, time = self.endpoint, self._context.clock()
            opened = await self._context.threads(lambda: self._context.renderer.opened_all(endpoint, time))
            if endpoint["revision"] == self.endpoint["revision"]:
                self._opened = (now, opened)
        return opened

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _attempt(self, delivery: Document) -> None:
        try:
            await self._try(delivery)
        except (Unavailable, Stale) as error:
            log.debug("webhooks wait for a server: %s", error)
            self._subjects.again(delivery["subject"])
        except Exception as error:
            log.exception("an attempt of a webhook failed unexpectedly")
            # An outcome as any other: what fails each time must not be repeated each second, for ever and unseen.
            self._judge(delivery, Answer(0, error=f"unexpected: {type(error).__name__}"))

    async def _try(self, delivery: Document) -> None:
        # First all waits, which may be so long that anything has changed meanwhile, the pace as well.
        if "pace" in self.endpoint:
            await self._context.rate_limits.turn(
                str(application_of(self.endpoint)), lambda: self.endpoint.get("pace")
            )
        # Without a slot, which somebody who may send at once would wait for.
        await self._share_of_processor()
        async with self._context.under_way.slot(self.endpoint["tenant"]):
            answer = await self._answer(delivery)
        if answer is not None:
            self._context.metrics.attempted(answer)
            self._judge(delivery, answer)

    async def _share_of_processor(self) -> None:
        """Wait while the tenant has used more than its share of the process, and others have something to send."""
        owner, processor = Owner(self.endpoint["tenant"], self.endpoint["_id"]), self._context.processor
        # One of a tenant's at a time: woken together, all but the first would find the share used up again.
        async with self._context.turns[owner.tenant]:
            while (seconds := processor.wait_seconds(owner)) > 0:
                await asyncio.sleep(seconds)
            processor.spent(owner, _ATTEMPT_SECONDS)

    async def _answer(self, delivery: Document) -> Answer | None:
        """Send a delivery whose turn has come, as everything is now. None: it was not sent."""
        opened = await self._what_is_sealed()
        endpoint, context = self.endpoint, self._context
        renderer = context.renderer

        def rendered() -> Rendered:
            # Read for each attempt: consent may have been withdrawn since the delivery was read.
            return renderer.request(endpoint, delivery, renderer.known(endpoint, delivery), opened)

        # A template may compute for long, while the loop serves all endpoints and renews their leases.
        if "purpose" in endpoint or endpoint.get("categories") or endpoint.get("template"):
            request = await context.threads(rendered)
        else:
            request = rendered()
        latest = self.endpoint
        changed = latest["state"] != "enabled" or latest["revision"] != endpoint["revision"]
        if changed or must_wait(latest, delivery) or not self._may_send():
            self._subjects.again(delivery["subject"])
            return None
        if request.dropped is not None:
            self._outcome(delivery, Answer(0, error=request.dropped), "dropped")
            return None
        if request.failed is not None:
            self._give_up(delivery, request.failed)
            return None
        return await context.client.post(endpoint["url"], dict(request.headers), request.body)

    def _give_up(self, delivery: Document, reason: str) -> None:
        """The template has failed on a delivery, and would again. That says nothing of the endpoint. It waits for
        a turn, and holds up its subject only: the template may be mended before the queue is given up."""
        now = self._context.clock()
        if delivery["_id"] not in self._failed_on and now < self._give_up_at:
            self._failed_on.add(delivery["_id"])
            self._subjects.again(delivery["subject"], self._give_up_at)
            self._give_up_at += _GIVING_UP
            return
        self._failed_on.discard(delivery["_id"])
        self._give_up_at = max(self._give_up_at, now + _GIVING_UP)
        self._outcome(delivery, Answer(0, error=reason), "given_up")

    def _judge(self, delivery: Document, answer: Answer) -> None:
        if answer.delivered:
            self._outcome(delivery, answer, "delivered")
            return
        now, jitter = self._context.clock(), self._context.jitter
        wish = retry_policy.retry_after(answer.retry_after, now)
        self._health.failed(answer.status, wish, now, asyncio.get_running_loop().time(), jitter)
        due = retry_policy.next_attempt(delivery["attempts"] + 1, now, jitter(), wish)
        self._outcome(delivery, answer, "failed" if due is not None else "given_up", due)

    def _outcome(self, delivery: Document, answer: Answer, outcome: str, due: datetime | None = None) -> None:
        entry = entry_of(delivery, answer, outcome, self._context.clock())
        self._settled.append((Settled(delivery, entry, due, failed=outcome == "given_up"), outcome))
        self._ended.set()

    async def _store(self) -> None:
        """Store outcomes, then let their subjects go on."""
        if not self._settled:
            return
        batch = self._settled[:WINDOW]
        await self._context.threads(lambda: self._context.queue.settle([settled for settled, _ in batch]))
        del self._settled[: len(batch)]
        delivered, gone = False, False
        for settled, outcome in batch:
            self._context.metrics.settled(outcome)
            if "receipt" in settled.delivery:
                self._context.metrics.told(outcome)
            delivered |= outcome == "delivered"
            gone |= settled.entry.get("status") == retry_policy.GONE
            self._subjects.settled(settled.delivery["subject"], settled.due)
        self._wake.set()
        await self._remember(delivered=delivered, gone=gone)

    async def _remember(self, *, delivered: bool, gone: bool) -> None:
        """Store in the endpoint since when it fails, and disable it if that is too long."""
        endpoint, now = self.endpoint, self._context.clock()
        changes = self._health.changes(endpoint, now, delivered=delivered, gone=gone)
        if changes.stated.get("state") == "disabled":
            self._context.metrics.disabled()
            log.warning("webhook endpoint %s is disabled: %s", endpoint["_id"], changes.stated["reason"])
        if changes.stated or changes.removed:
            await self._context.threads(lambda: self._context.queue.change(endpoint["_id"], changes))
            for name in changes.removed:
                endpoint.pop(name, None)
            endpoint |= changes.stated


async def _woken(event: asyncio.Event, seconds: float) -> None:
    # Not wait_for: cancelled as the event is set, it would return, and the sender never end.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
