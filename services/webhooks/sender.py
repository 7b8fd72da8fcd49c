"""Sends the deliveries of one endpoint, in order within each subject.

Deliveries are taken in the endpoint's order by a scan of its queue. Of a subject only the first one is under way;
the next one follows once the outcome of the first is stored. A subject whose first delivery has failed is *parked*
until the next attempt is due, and holds up nobody else. When the scan reaches the end it begins again, because
another partition may have enqueued a delivery at a place that it has passed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from services.webhooks import schedule, signing
from services.webhooks.metrics import SenderMetrics
from services.webhooks.post import Answer
from services.webhooks.queue import Changes, Place, Queue, Settled, place_of
from services.webhooks.rendering import Known, Renderer
from shared.contracts.errors import Stale, Unavailable
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Requests of one endpoint under way at once.
CONCURRENCY = 16
WINDOW = 500
#: Queued deliveries beyond which fan-out stops enqueueing for an endpoint, and below half of which it goes on.
MOST_QUEUED = 10_000
_IDLE_SECONDS = 0.2
_RESCAN_SECONDS = 1.0
#: After a scan that has found something.
_SOON_SECONDS = 0.05
_MOST_EXCLUDED = 1_000
_MOST_UNSTORED = 1_000
_SECRETS_SECONDS = 5.0
_TROUBLE_SECONDS = 1.0
_LONGEST_TROUBLE = 10.0

T = TypeVar("T")


class Posting(Protocol):
    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer: ...


@dataclass(slots=True)
class Parts:
    """What the senders of a process share. ``threads`` runs a blocking call; ``clock`` returns the present."""

    queue: Queue
    renderer: Renderer
    poster: Posting
    metrics: SenderMetrics
    threads: Callable[[Callable[[], Any]], Awaitable[Any]]
    under_way: asyncio.Semaphore
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class _State:
    """What a sender remembers of its endpoint while it has the lease."""

    place: Place | None = None
    scanned: float = -1e9
    busy: set[str] = field(default_factory=set)
    #: Subject → when its first delivery is due.
    parked: dict[str, datetime] = field(default_factory=dict)
    #: Subjects whose queue the scan has passed while they were busy or parked.
    more: set[str] = field(default_factory=set)
    ready: list[Document] = field(default_factory=list)
    failures: int = 0
    failing_since: datetime | None = None
    resume_at: float = 0.0


class Sender:
    """Sends for ``endpoint`` until it is stopped. ``may_send`` says whether the lease is still held."""

    def __init__(self, endpoint: Document, parts: Parts, may_send: Callable[[], bool]) -> None:
        self.endpoint = endpoint
        self._parts, self._may_send = parts, may_send
        self._state = _State(failing_since=endpoint.get("failing_since"), failures=endpoint.get("failures", 0))
        self._settled: list[tuple[Settled, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake, self._ended = asyncio.Event(), asyncio.Event()
        self._secrets: tuple[float, list[str]] = (-1e9, [])
        self._known = Known({}, {})

    def refresh(self, endpoint: Document) -> None:
        """Take over what the API has changed."""
        if endpoint["revision"] != self.endpoint["revision"]:
            self._state.failures, self._state.failing_since, self._state.resume_at = 0, None, 0.0
            self._secrets = (-1e9, [])
            self._wake.set()
        self.endpoint = endpoint

    async def run(self) -> None:
        """Ends when it is cancelled, once what was sent is stored as far as possible."""
        storing = asyncio.create_task(self._while_up(self._store_all))
        try:
            await self._while_up(self._load, once=True)
            await self._while_up(self._send)
        finally:
            for task in (storing, *self._tasks):
                task.cancel()
            await asyncio.gather(storing, *self._tasks, return_exceptions=True)
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

    async def _send(self) -> None:
        self._wake.clear()
        if self._may_send() and self.endpoint["state"] == "enabled" and await self._start():
            return
        await _woken(self._wake)

    async def _store_all(self) -> None:
        self._ended.clear()
        if self._settled:
            await self._store()
        else:
            await _woken(self._ended)

    async def _store_last(self) -> None:
        try:
            while self._settled:
                await self._store()
        except (Unavailable, Stale) as error:
            log.warning("outcomes of webhooks are not stored, their deliveries are repeated: %s", error)

    async def _load(self) -> None:
        """Which subjects wait for another attempt."""
        id = self.endpoint["_id"]
        found = await self._parts.threads(lambda: self._parts.queue.retrying(id))
        for delivery in found:
            self._park(delivery["subject"], delivery["due"])

    def _park(self, subject: str, due: datetime) -> None:
        self._state.parked[subject] = max(due, self._state.parked.get(subject, due))
        self._state.more.add(subject)

    async def _start(self) -> bool:
        """Start what can be started; False if there was nothing."""
        state, now = self._state, asyncio.get_running_loop().time()
        most = CONCURRENCY
        if state.failures >= schedule.BREAKS_AFTER:
            # One attempt shows whether the endpoint works again.
            most = 1 if now >= state.resume_at else 0
        room = min(most - len(self._tasks), _MOST_UNSTORED - len(self._settled))
        if room <= 0:
            return False
        await self._open_secrets(now)
        await self._take_parked()
        if not state.ready:
            await self._scan(now)
        started = False
        while state.ready and room > 0:
            delivery = state.ready.pop(0)
            subject = delivery["subject"]
            if subject in state.busy or subject in state.parked:
                state.more.add(subject)
                continue
            room -= 1
            started = True
            state.busy.add(subject)
            task = asyncio.create_task(self._attempt(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return started or state.place is not None

    async def _open_secrets(self, now: float) -> None:
        """Decrypt the secrets now and then: their key may be destroyed, and one may have ended."""
        if now - self._secrets[0] > _SECRETS_SECONDS:
            endpoint, time = self.endpoint, self._parts.clock()
            opened = await self._parts.threads(lambda: self._parts.renderer.secrets(endpoint, time))
            self._secrets = (now, opened)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook's attempt failed unexpectedly", exc_info=error)

    async def _take_parked(self) -> None:
        """Put the first delivery of each subject that is due in front."""
        state, now = self._state, self._parts.clock()
        due = [subject for subject, time in state.parked.items() if time <= now and subject not in state.busy]
        due = due[: CONCURRENCY * 2]
        for subject in due:
            del state.parked[subject]
        await self._follow(due)

    async def _follow(self, subjects: Collection[str]) -> None:
        """Put the next delivery of these subjects in front, after the scan has passed it."""
        if not subjects:
            return
        id, state = self.endpoint["_id"], self._state
        found = await self._parts.threads(lambda: self._parts.queue.firsts(id, subjects))
        state.more -= {*subjects}
        ready = []
        for delivery in found:
            if delivery["due"] > self._parts.clock():
                self._park(delivery["subject"], delivery["due"])
            else:
                ready.append(delivery)
                state.more.add(delivery["subject"])
        await self._learn(ready)
        ready.sort(key=place_of)
        state.ready[:0] = ready

    async def _scan(self, now: float) -> None:
        state, id = self._state, self.endpoint["_id"]
        if state.place is None and now - state.scanned < _RESCAN_SECONDS and state.scanned > 0:
            # Nothing new can be behind the end but what has come since.
            return
        begun = asyncio.get_running_loop().time()
        place = state.place
        # Their queues are followed on their own. Beyond some number they are skipped here.
        parked = list(state.parked)[:_MOST_EXCLUDED]
        found = await self._parts.threads(lambda: self._parts.queue.waiting(id, place, WINDOW, parked))
        state.place = place_of(found[-1]) if len(found) == WINDOW else None
        if state.place is None:
            state.scanned = begun - (_RESCAN_SECONDS - _SOON_SECONDS if found else 0)
        ready = []
        seen: set[str] = set()
        for delivery in found:
            subject = delivery["subject"]
            if subject in state.busy or subject in state.parked or subject in seen:
                state.more.add(subject)
            elif delivery["due"] > self._parts.clock():
                self._park(subject, delivery["due"])
            else:
                ready.append(delivery)
                seen.add(subject)
        await self._learn(ready)
        state.ready = ready

    async def _learn(self, deliveries: list[Document]) -> None:
        if "purpose" in self.endpoint or self.endpoint.get("categories"):
            endpoint = self.endpoint
            self._known = await self._parts.threads(lambda: self._parts.renderer.known(endpoint, deliveries))

    async def _attempt(self, delivery: Document) -> None:
        endpoint, parts = self.endpoint, self._parts
        known = self._known
        if "purpose" in endpoint or endpoint.get("categories"):
            # Consent may have been withdrawn since the delivery was read.
            known = await parts.threads(lambda: parts.renderer.known(endpoint, [delivery]))
        request = parts.renderer.request(endpoint, delivery, known, self._secrets[1])
        if request.dropped is not None:
            self._outcome(delivery, Answer(0, error=request.dropped), "dropped")
            return
        if request.failed is not None:
            self._outcome(delivery, Answer(0, error=request.failed), "given_up")
            return
        async with parts.under_way:
            if not self._may_send():
                self._state.busy.discard(delivery["subject"])
                self._state.more.add(delivery["subject"])
                return
            answer = await parts.poster.post(endpoint["url"], dict(request.headers), request.body)
        parts.metrics.attempted(answer)
        self._judge(delivery, answer)

    def _judge(self, delivery: Document, answer: Answer) -> None:
        state, now = self._state, self._parts.clock()
        if answer.delivered:
            self._outcome(delivery, answer, "delivered")
            return
        wish = schedule.retry_after(answer.retry_after, now)
        state.failures += 1
        state.failing_since = state.failing_since or now
        pause = schedule.pause(state.failures, self._parts.jitter())
        if answer.status in schedule.THROTTLING:
            # The endpoint as a whole is not ready.
            pause = max(pause, min(wish or 0.0, 3_600.0))
            state.failures = max(state.failures, schedule.BREAKS_AFTER)
        state.resume_at = asyncio.get_running_loop().time() + pause
        due = schedule.next_attempt(delivery["attempts"] + 1, now, self._parts.jitter(), wish)
        self._outcome(delivery, answer, "failed" if due is not None else "given_up", due)

    def _outcome(self, delivery: Document, answer: Answer, outcome: str, due: datetime | None = None) -> None:
        now = self._parts.clock()
        entry: Document = {
            "_id": f"{delivery['_id']}#{delivery['attempts'] + 1}",
            "endpoint": delivery["endpoint"],
            "tenant": delivery["tenant"],
            "delivery": delivery["_id"],
            "webhook_id": signing.message_id(delivery["change"]["id"]),
            "type": delivery["change"]["type"],
            "subject": delivery["subject"],
            "attempt": delivery["attempts"] + 1,
            "at": now,
            "milliseconds": answer.milliseconds,
            "outcome": outcome,
        }
        if answer.status is not None:
            entry |= {"status": answer.status, "answer": answer.text}
        if answer.error is not None:
            entry["error"] = answer.error
        self._settled.append((Settled(delivery, entry, due, failed=outcome == "given_up"), outcome))
        self._ended.set()

    async def _store(self) -> None:
        """Store outcomes, then let their subjects go on."""
        if not self._settled:
            return
        batch = self._settled[:WINDOW]
        await self._parts.threads(lambda: self._parts.queue.settle([settled for settled, _ in batch]))
        del self._settled[: len(batch)]
        state, delivered, gone = self._state, False, False
        following = []
        for settled, outcome in batch:
            subject = settled.delivery["subject"]
            state.busy.discard(subject)
            self._parts.metrics.settled(outcome)
            delivered |= outcome == "delivered"
            gone |= settled.entry.get("status") == schedule.GONE
            if settled.due is not None:
                self._park(subject, settled.due)
            elif subject in state.more:
                following.append(subject)
        self._wake.set()
        await self._follow(following)
        await self._remember(delivered=delivered, gone=gone)

    async def _remember(self, *, delivered: bool, gone: bool) -> None:
        """Store in the endpoint since when it fails, and disable it if that is too long."""
        state, endpoint, now = self._state, self.endpoint, self._parts.clock()
        changes = Changes()
        if delivered:
            state.failures, state.failing_since, state.resume_at = 0, None, 0.0
            if "failing_since" in endpoint or now - endpoint.get("succeeded", _NEVER) > timedelta(minutes=1):
                changes.stated["succeeded"] = now
                changes.removed |= {"failing_since", "failures"}
        elif state.failing_since is not None and state.failing_since != endpoint.get("failing_since"):
            changes.stated |= {"failing_since": state.failing_since, "failures": state.failures}
        if gone or schedule.is_given_up(state.failing_since, now):
            reason = "the endpoint answered 410 Gone" if gone else "no delivery has succeeded for five days"
            changes.stated |= {"state": "disabled", "reason": reason, "notice": True}
            self._parts.metrics.disabled()
            log.warning("webhook endpoint %s is disabled: %s", endpoint["_id"], reason)
        if changes.stated or changes.removed:
            await self._parts.threads(lambda: self._parts.queue.change(endpoint["_id"], changes))
            for name in changes.removed:
                endpoint.pop(name, None)
            endpoint |= changes.stated


async def _woken(event: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(event.wait(), _IDLE_SECONDS)
    except TimeoutError:
        return


_NEVER = datetime.fromtimestamp(0, UTC)
