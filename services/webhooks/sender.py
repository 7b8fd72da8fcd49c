"""Sends the deliveries of one endpoint, in order within each subject.

A scan of the queue, in the endpoint's order, finds subjects. Of each subject the first delivery is read and
sent; the next one is read once the outcome of the first is stored, so that order holds. A subject whose first
delivery has failed is *parked* until the next attempt is due, and holds up nobody else. When the scan reaches the
end it begins again, because another partition may have enqueued a delivery at a place that it has passed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from services.webhooks import schedule, signing
from services.webhooks.applications import application_of, must_wait
from services.webhooks.metrics import SenderMetrics
from services.webhooks.pace import Paces
from services.webhooks.places import Places
from services.webhooks.post import TENANT, Answer
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
    under_way: Places
    paces: Paces = field(default_factory=Paces)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class _State:
    """What a sender remembers of its endpoint while it has the lease. A subject is in at most one of ``asked``,
    ``waiting``, ``busy`` and ``parked``."""

    place: Place | None = None
    scanned: float = -1e9
    #: Subjects whose first delivery is to be read.
    asked: set[str] = field(default_factory=set)
    #: The first deliveries of subjects, read and not started; by subject.
    waiting: dict[str, Document] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    #: Subject → when its first delivery is due.
    parked: dict[str, datetime] = field(default_factory=dict)
    failures: int = 0
    failing_since: datetime | None = None
    resume_at: float = 0.0

    def knows(self, subject: str) -> bool:
        return any(subject in each for each in (self.asked, self.waiting, self.busy, self.parked))


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

    def refresh(self, endpoint: Document) -> None:
        """Take over what the API has changed."""
        if endpoint["revision"] != self.endpoint["revision"]:
            self._state.failures, self._state.failing_since, self._state.resume_at = 0, None, 0.0
            self._secrets = (-1e9, [])
            self._wake.set()
        self.endpoint = endpoint

    async def run(self) -> None:
        """Ends when it is cancelled, once what was sent is stored as far as possible."""
        # For all tasks that begin here: names are resolved in turns between tenants.
        TENANT.set(self.endpoint["tenant"])
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
        parked = self._state.parked
        for delivery in found:
            subject, due = delivery["subject"], delivery["due"]
            parked[subject] = max(due, parked.get(subject, due))

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
        now_due = self._parts.clock()
        for subject in [subject for subject, due in state.parked.items() if due <= now_due][:WINDOW]:
            del state.parked[subject]
            state.asked.add(subject)
        if not state.asked and not state.waiting:
            await self._scan(now)
        if state.asked and len(state.waiting) < WINDOW:
            await self._read_firsts()
        started = list(state.waiting)[:room]
        for subject in started:
            state.busy.add(subject)
            task = asyncio.create_task(self._attempt(state.waiting.pop(subject)))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return bool(started or state.asked) or state.place is not None

    async def _open_secrets(self, now: float) -> None:
        """Decrypt the secrets now and then: their key may be destroyed, and one may have ended."""
        if now - self._secrets[0] > _SECRETS_SECONDS:
            endpoint, time = self.endpoint, self._parts.clock()
            opened = await self._parts.threads(lambda: self._parts.renderer.secrets(endpoint, time))
            self._secrets = (now, opened)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _scan(self, now: float) -> None:
        """Find the subjects that have deliveries from the place on, and go on there the next time."""
        state, id = self._state, self.endpoint["_id"]
        if state.place is None and now - state.scanned < _RESCAN_SECONDS:
            return
        place, parked = state.place, list(state.parked)[:_MOST_EXCLUDED]
        only = bool(self.endpoint.get("only_told"))
        queue = self._parts.queue
        found = await self._parts.threads(lambda: queue.waiting(id, place, WINDOW, parked, only_told=only))
        state.place = place_of(found[-1]) if len(found) == WINDOW else None
        if state.place is None:
            state.scanned = now - (_RESCAN_SECONDS - _SOON_SECONDS if found else 0)
        state.asked |= {each["subject"] for each in found if not state.knows(each["subject"])}

    async def _read_firsts(self) -> None:
        """Read the first delivery of the subjects that were found: what the scan has seen of a subject need not be
        its first one, because another may have been enqueued behind the place."""
        state, id = self._state, self.endpoint["_id"]
        subjects = list(state.asked)[:WINDOW]
        found = await self._parts.threads(lambda: self._parts.queue.firsts(id, subjects))
        now = self._parts.clock()
        ready = sorted((each for each in found if each["due"] <= now), key=place_of)
        state.asked -= {*subjects}
        state.parked |= {each["subject"]: each["due"] for each in found if each["due"] > now}
        state.waiting |= {each["subject"]: each for each in ready}

    async def _attempt(self, delivery: Document) -> None:
        try:
            await self._try(delivery)
        except (Unavailable, Stale) as error:
            log.debug("webhooks wait for a server: %s", error)
            self._again(delivery["subject"])
        except Exception:
            log.exception("an attempt of a webhook failed unexpectedly; it is repeated")
            self._again(delivery["subject"])

    def _again(self, subject: str) -> None:
        """Let a subject's delivery be read and tried again in a while: nothing was sent."""
        self._state.busy.discard(subject)
        self._state.parked[subject] = self._parts.clock() + timedelta(seconds=_TROUBLE_SECONDS)

    async def _try(self, delivery: Document) -> None:
        if "pace" in self.endpoint:
            # First, and so long that anything may have changed meanwhile, the pace as well.
            await self._parts.paces.turn(str(application_of(self.endpoint)), lambda: self.endpoint.get("pace"))
        endpoint, parts = self.endpoint, self._parts
        if must_wait(endpoint, delivery):
            self._again(delivery["subject"])
            return
        # Read for each attempt: consent may have been withdrawn since the delivery was read.
        known = Known({}, {})
        if "purpose" in endpoint or endpoint.get("categories"):
            known = await parts.threads(lambda: parts.renderer.known(endpoint, delivery))
        request = parts.renderer.request(endpoint, delivery, known, self._secrets[1])
        if request.dropped is not None:
            self._outcome(delivery, Answer(0, error=request.dropped), "dropped")
            return
        if request.failed is not None:
            self._outcome(delivery, Answer(0, error=request.failed), "given_up")
            return
        async with parts.under_way.place(endpoint["tenant"]):
            if not self._may_send():
                self._again(delivery["subject"])
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
        for settled, outcome in batch:
            subject = settled.delivery["subject"]
            state.busy.discard(subject)
            self._parts.metrics.settled(outcome)
            if "receipt" in settled.delivery:
                self._parts.metrics.told(outcome)
            delivered |= outcome == "delivered"
            gone |= settled.entry.get("status") == schedule.GONE
            if settled.due is None:
                state.asked.add(subject)
            else:
                state.parked[subject] = settled.due
        self._wake.set()
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
