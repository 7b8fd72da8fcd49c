"""Stores what was shown, and keeps what followed equal to the facts, on a thread of its own.

Which items were followed is a function of the live facts: it is read from them again whenever a change of a
relation concerns a list, and written only if nobody has changed the list meanwhile (``revision``). So it does not
matter how often a change arrives, in which order, late, or in how many processes; a retraction takes back what it
retracts. After each scan of the relationships all lists are compared, for what happened while nobody followed.
"""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from services.intelligence.engine.question import Side
from services.intelligence.outcomes.shown import Recording, limited_to, pairs_of, with_followed
from services.intelligence.outcomes.store import OutcomeStore, by_tenant
from services.intelligence.outcomes.touched import Touched, Work
from services.intelligence.state import State
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most, Owner
from shared.http.server import Refusal
from shared.http.shares import Share
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
#: Lists that wait to be stored, and those of one tenant. Beyond it they are dropped, and counted.
WAITING, OF_TENANT = 2_000, 500
_PAGE = 500


class Following(Protocol):
    """A Follower, as far as it is needed."""

    def problems(self) -> list[str]: ...
    def reading(self, tenant: str, /) -> AbstractContextManager[State]: ...
    def writing(self) -> AbstractContextManager[None]: ...


class Recorder:
    """``granted`` returns those of a tenant's consumers who have granted a purpose, ``forget`` deletes what is
    stored about consumers; both raise Unavailable. ``clock`` returns aware times."""

    def __init__(
        self,
        store: OutcomeStore,
        follower: Following,
        touched: Touched,
        recording: Recording,
        granted: Callable[[str, list[str], str], set[str]],
        forget: Callable[[str, Sequence[str]], None],
        clock: Callable[[], datetime],
        waiting: int = WAITING,
    ) -> None:
        self.store, self.recording, self.clock = store, recording, clock
        self._follower, self._touched = follower, touched
        self._granted, self._forget = granted, forget
        self._waiting = Share("lists waiting", Most(OF_TENANT, OF_TENANT, waiting))
        self._queue: queue.SimpleQueue[Document] = queue.SimpleQueue()
        #: The lists that are compared: of whom (all tenants: the empty text), and the id after which it goes on. A
        #: page of each in turn.
        self._comparing: OrderedDict[str, str] = OrderedDict()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
        self.recorded = self.dropped = self.left_out = 0

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def show(self, tenant: str, side: Side, id: str, answer: Mapping[str, Any]) -> None:
        """Record an answer of recommendations, if it is in the share. Never waits."""
        shown = self.recording.list_of(tenant, side, id, answer, self.clock())
        if shown is None:
            return
        try:
            self._waiting.take(Owner(tenant, ""))
        except Refusal:
            self.dropped += 1
            return
        self._queue.put(shown)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)

    def _run(self) -> None:
        while True:
            stopping = self._stop.wait(_LOOK_SECONDS)
            try:
                self.look()
            except Unavailable as error:
                log.warning("outcomes are not recorded now, trying again: %s", error)
                self._stop.wait(1.0)
            except Exception:
                log.exception("outcomes cannot be recorded; correct the cause, no restart is needed")
                self._stop.wait(30.0)
            if stopping:
                return

    def look(self) -> None:
        """Store what waits, and compare the lists that changes concern. Raises Unavailable; then nothing that
        follows from changes is lost."""
        if self._follower.problems():
            return
        self._store_waiting()
        work = self._touched.take()
        try:
            self._match(work)
        except BaseException:
            self._touched.put_back(work)
            raise
        if self._comparing:
            self._compare_page()

    def _store_waiting(self) -> None:
        taken: list[Document] = []
        while len(taken) < _PAGE and not self._queue.empty():
            taken.append(self._queue.get_nowait())
            self._waiting.give(Owner(taken[-1]["tenant"], ""))
        if not taken:
            return
        try:
            # An erasure waits for what is being written. Who was erased before is not in the graph any more.
            with self._follower.writing():
                lists = self._permitted(self._present(taken))
                self.left_out += len(taken) - len(lists)
                added = self.store.add(lists) if lists else 0
        except Unavailable:
            self.dropped += len(taken)
            raise
        self.recorded += added
        # A relation may have followed before the list was stored.
        self._touched.put_back(Work(pairs=_pairs(lists)))

    def _present(self, lists: Sequence[Document]) -> list[Document]:
        consumers = by_tenant({(each["tenant"], id) for each in lists for id in each["consumers"]})
        present = {tenant: self._with_relationships(tenant, ids) for tenant, ids in consumers.items()}
        return _limited(lists, lambda tenant, id: id in present[tenant])

    def _with_relationships(self, tenant: str, consumers: Sequence[str]) -> set[str]:
        with self._follower.reading(tenant) as state:
            names = state.known(tenant).graph.names["consumer"]
            return {id for id in consumers if names.find(id) is not None}

    def _permitted(self, lists: Sequence[Document]) -> list[Document]:
        """The lists, with the consumers only who have granted what the tenant's recording needs."""
        needing = [each for each in lists if self.recording.purposes_of(each["tenant"])]
        consumers = by_tenant({(each["tenant"], id) for each in needing for id in each["consumers"]})
        granted = {tenant: self._permitting(tenant, ids) for tenant, ids in consumers.items()}
        return _limited(lists, lambda tenant, id: tenant not in granted or id in granted[tenant])

    def _permitting(self, tenant: str, consumers: list[str]) -> set[str]:
        """Return the consumers who have granted everything that the recording needs."""
        kept = set(consumers)
        for purpose in self.recording.purposes_of(tenant):
            kept = self._granted(tenant, sorted(kept), purpose) if kept else kept
        return kept

    def _match(self, work: Work) -> None:
        if work.everything:
            self._comparing = OrderedDict({"": ""})
        # From the beginning, also where it has begun.
        self._comparing.update(dict.fromkeys(work.tenants, ""))
        for tenant, consumers in by_tenant(work.consents).items():
            self._withdraw(tenant, consumers)
        for tenant, consumers in by_tenant(work.pairs).items():
            for shown in self.store.of(tenant, consumers):
                if any(provider in work.pairs.get((tenant, id), ()) for id, provider in pairs_of(shown)):
                    self._follow(shown)

    def _withdraw(self, tenant: str, consumers: list[str]) -> None:
        """Delete what is stored about those who have not granted what the recording needs."""
        kept = self._permitting(tenant, consumers)
        if gone := [id for id in consumers if id not in kept]:
            self._forget(tenant, gone)

    def _follow(self, shown: Document | None) -> None:
        """Make what followed a stored list equal to the facts."""
        while shown is not None:
            items = with_followed(shown, self.store.followed(shown))
            if items is None or self.store.set_items(shown, items):
                return
            # Somebody was faster: with older facts, perhaps.
            shown = next(iter(self.store.by_id([shown["_id"]])), None)

    def _compare_page(self) -> None:
        of, after = self._comparing.popitem(last=False)
        try:
            lists = self.store.page(of, after, _PAGE)
            consumers = {(each["tenant"], id) for each in lists for id in each["consumers"]}
            for tenant, ids in by_tenant(consumers).items():
                self._withdraw(tenant, ids)
            for shown in lists:
                if self._stop.is_set():
                    return
                if self._related(shown):
                    self._follow(shown)
        except BaseException:
            self._comparing[of] = after
            raise
        if len(lists) == _PAGE:
            self._comparing[of] = lists[-1]["_id"]

    def _related(self, shown: Document) -> bool:
        """Whether a pair of the list has relations, or is stored as if it had."""
        if any("followed" in each for each in shown["items"]):
            return True
        with self._follower.reading(shown["tenant"]) as state:
            tenant = state.known(shown["tenant"])
            # Of one that has outgrown the process, only the facts know.
            return tenant.outgrown or any(tenant.kinds(*pair) for pair in pairs_of(shown))


def _pairs(lists: Sequence[Document]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for shown in lists:
        for consumer, provider in pairs_of(shown):
            found.setdefault((shown["tenant"], consumer), set()).add(provider)
    return found


def _limited(lists: Sequence[Document], kept: Callable[[str, str], bool]) -> list[Document]:
    found = (limited_to(each, [id for id in each["consumers"] if kept(each["tenant"], id)]) for each in lists)
    return [each for each in found if each is not None]
