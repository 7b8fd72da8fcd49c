"""The subjects of an endpoint's queue: which deliveries come next, in order within each subject.

A scan of the queue, in the endpoint's order, finds subjects. Of each subject the first delivery is read and
sent; the next one is read once the outcome of the first is stored, so that order holds. A subject whose first
delivery has failed is *parked* until the next attempt is due, and holds up nobody else. When the scan reaches the
end it begins again, because another partition may have enqueued a delivery at a place that it has passed.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.webhooks.delivery.queue import Place, Queue, place_of
from shared.runtime.protocols import Document

#: What is read, or stored, at a time.
WINDOW = 500
_RESCAN_SECONDS = 1.0
#: Of a queue in which nothing waits: whoever runs the senders looks into all such at once.
_IDLE_RESCAN_SECONDS = 5.0
#: After a scan that has found something which is not parked.
_SOON_SECONDS = 0.05
_MOST_EXCLUDED = 1_000
#: What was not sent is tried again after it.
_PAUSE = timedelta(seconds=1)


@dataclass(slots=True)
class Subjects:
    """The subjects of one endpoint, while its sender has the lease. ``threads`` runs a blocking call; ``clock``
    returns the present. A subject is in at most one of ``asked``, ``waiting``, ``busy`` and ``parked``. Coroutines
    raise Unavailable."""

    endpoint: str
    queue: Queue
    threads: Callable[[Callable[[], Any]], Awaitable[Any]]
    clock: Callable[[], datetime]
    place: Place | None = None
    scanned: float = -1e9
    #: Subjects whose first delivery is to be read.
    asked: set[str] = field(default_factory=set)
    #: The first deliveries of subjects, read and not started; by subject.
    waiting: dict[str, Document] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    #: Subject → when its first delivery is due.
    parked: dict[str, datetime] = field(default_factory=dict)
    #: Those of ``busy`` whose first delivery may be due earlier than its attempt says.
    doubted: set[str] = field(default_factory=set)
    renewals: int = 0
    loaded: bool = False
    #: Whether something was enqueued since the last scan began.
    come: bool = False
    #: Whether something was seen in the queue since the last scan began.
    seen: bool = False

    async def load(self, *, only_told: bool) -> None:
        """Which subjects wait for another attempt. ``only_told``: of receipts."""
        renewals = self.renewals
        found = await self.threads(lambda: self.queue.retrying(self.endpoint, only_told=only_told))
        self.loaded = True
        if renewals != self.renewals:
            return  # it may be out of date; the scan finds them
        for delivery in found:
            subject, due = delivery["subject"], delivery["due"]
            self.parked[subject] = max(due, self.parked.get(subject, due))

    async def find(self, now: float, *, only_told: bool) -> None:
        """Read first deliveries that can be sent. ``now`` is the event loop's time. ``only_told``: of receipts."""
        due_now = self.clock()
        for subject in [subject for subject, due in self.parked.items() if due <= due_now][:WINDOW]:
            del self.parked[subject]
            self.asked.add(subject)
        if not self.asked and not self.waiting:
            await self._scan(now, only_told)
        if self.asked and len(self.waiting) < WINDOW:
            await self._read_firsts()

    def take(self, most: int) -> list[Document]:
        """The deliveries that are sent now. Their subjects are busy until ``settled`` or ``again``."""
        taken = list(self.waiting)[:most]
        self.busy.update(taken)
        return [self.waiting.pop(subject) for subject in taken]

    def settled(self, subject: str, due: datetime | None) -> None:
        """The outcome of a subject's first delivery is stored. ``due``: it has failed, and is due again then."""
        self.busy.discard(subject)
        if due is None or subject in self.doubted:
            self.doubted.discard(subject)
            self.asked.add(subject)
        else:
            self.parked[subject] = due

    def again(self, subject: str, due: datetime | None = None) -> None:
        """Nothing was sent: let the subject's delivery be read and tried again then, or in a while."""
        self.busy.discard(subject)
        self.doubted.discard(subject)
        self.parked[subject] = due or self.clock() + _PAUSE

    def renew(self) -> None:
        """What waits may be due now: its subjects are found, and their first deliveries read, again. So are those
        that are being read, and those under way once they are settled: what is known of them may be older."""
        self.renewals += 1
        self.asked |= self.waiting.keys()
        self.waiting.clear()
        self.parked.clear()
        self.doubted = {*self.busy}
        self.place, self.scanned = None, -1e9

    def arrived(self, subjects: Collection[str] = ()) -> None:
        """Something was enqueued: of these subjects, or of any. Where nothing else waits, their first deliveries
        are read without a scan; otherwise it scans at once, so that what waits already has its turn before."""
        rests = self.loaded and not (self.asked or self.waiting or self.come or self.place is not None)
        if rests and 0 < len(subjects) <= WINDOW:
            self.asked |= {subject for subject in subjects if not self._knows(subject)}
        else:
            self.come, self.scanned = True, -1e9

    @property
    def idle(self) -> bool:
        """Whether nothing is known to wait."""
        held = self.asked or self.waiting or self.busy or self.parked
        return self.loaded and not held and self.place is None

    @property
    def more(self) -> bool:
        """Whether there may be more to send at once."""
        return bool(self.asked) or self.place is not None

    async def _scan(self, now: float, only_told: bool) -> None:
        """Find the subjects that have deliveries from the place on, and go on there the next time."""
        # Receipts are no part of that look.
        rests = self.idle and not self.seen and not only_told
        rescan = _IDLE_RESCAN_SECONDS if rests else _RESCAN_SECONDS
        if self.place is None and now - self.scanned < rescan:
            return
        if self.place is None:
            self.come = self.seen = False
        id, queue, place, parked = self.endpoint, self.queue, self.place, list(self.parked)[:_MOST_EXCLUDED]
        found = await self.threads(lambda: queue.waiting(id, place, WINDOW, parked, only_told=only_told))
        self.place = place_of(found[-1]) if len(found) == WINDOW else None
        if self.place is None:
            moving = any(each["subject"] not in self.parked for each in found)
            self.scanned = now - (_RESCAN_SECONDS - _SOON_SECONDS if moving else 0) if not self.come else -1e9
        self.asked |= {each["subject"] for each in found if not self._knows(each["subject"])}

    async def _read_firsts(self) -> None:
        """Read the first delivery of the subjects that were found: what the scan has seen of a subject need not be
        its first one, because another may have been enqueued behind the place."""
        subjects, renewals = list(self.asked)[:WINDOW], self.renewals
        found = await self.threads(lambda: self.queue.firsts(self.endpoint, subjects))
        if renewals != self.renewals:
            return  # it may be out of date
        now = self.clock()
        ready = sorted((each for each in found if each["due"] <= now), key=place_of)
        self.asked -= {*subjects}
        self.parked |= {each["subject"]: each["due"] for each in found if each["due"] > now}
        self.waiting |= {each["subject"]: each for each in ready}

    def _knows(self, subject: str) -> bool:
        return any(subject in each for each in (self.asked, self.waiting, self.busy, self.parked))
