"""Keeps the state of this process: one scan, then every change from the ends noted before it."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Protocol

import orjson

from services.intelligence.checks import Checks
from services.intelligence.queue_lock import QueueLocks
from services.intelligence.rows import Money
from services.intelligence.state import ROOM_BYTES, UNBOUNDED, Held, Inconsistent, Provider, State
from shared.contracts.changes import RelationChange, decode_change
from shared.contracts.errors import InvalidEvent, Unavailable
from shared.contracts.topics import CHANGES, Topics
from shared.runtime.protocols import Record
from shared.runtime.sequence_numbers import NUMBER, place_of
from shared.runtime.tail import Tail, TailLost

log = logging.getLogger(__name__)

#: Between two scans: at least this, and ten times as long as the last scan took.
_PAUSE_SECONDS, _PAUSES = 5.0, 10.0
#: For so long answers may be behind; then the process is not ready.
_BEHIND_SECONDS = 60.0
#: Records of which the profiles are read again in one query, and the changes made in one turn of their tenant.
_PORTION = 500
#: Changes of a tenant that wait for its questions; for more, the changes of all wait.
_MOST_PENDING = 50_000


class Source(Protocol):
    """What MongoDB holds. Every method raises Unavailable."""

    @property
    def version(self) -> int: ...
    def numbers(self) -> Mapping[str, int]: ...
    def scan(self, going_on: Callable[[], bool], most: int = UNBOUNDED) -> State: ...
    def providers(self, tenant: str, ids: list[str]) -> Mapping[str, Provider]: ...
    def granted(self, tenant: str, ids: list[str], purpose: str) -> set[str]: ...
    def money(self, tenant: str, pairs: list[tuple[str, str]], asked: Money) -> dict[str, int]: ...


class Listener(Protocol):
    """Is told what the state has followed, in the turn of the tenant. Must not wait."""

    def moved(self, tenant: str, consumer_id: str, provider_ids: Iterable[str]) -> None:
        """Relations of a consumer with these providers have changed."""

    def described(self, tenant: str, consumer_ids: Iterable[str]) -> None:
        """Profiles of consumers have changed."""

    def scanned(self) -> None:
        """Everything was read again."""


class Follower:
    """``open_tail`` opens a tail of the change topics. ``unreadable`` is called with each record that is no change
    and why, ``erased`` with the tenant and id of a consumer who is erased: at once, and again when no relationship
    of theirs is left and nothing is being written. Both may raise Unavailable.

    Read a tenant's part of the state within ``reading``. Thread-safe.

    Who reads a tenant's part does not keep the log waiting: the tenant's changes are put aside meanwhile, and
    made by who has its turn next. So the changes of the others do not wait.
    """

    def __init__(
        self,
        open_tail: Callable[[], Tail],
        source: Source,
        topics: Topics,
        *,
        unreadable: Callable[[Record, InvalidEvent], None] = lambda *_: None,
        erased: Callable[[str, str], None] = lambda *_: None,
        listener: Listener | None = None,
        most_edges: int = UNBOUNDED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_edges = most_edges
        self._open_tail, self._source, self._clock = open_tail, source, clock
        self._unreadable, self._erased, self._listener = unreadable, erased, listener
        self._relations, self._providers, self._consumers = (
            topics.name(CHANGES[name]) for name in ("relations", "providers", "consumers")
        )
        self._lock = threading.Lock()
        #: By tenant: whoever asks for long keeps nobody else from an answer.
        self._locks = QueueLocks()
        self._state = State({})
        self._whole = False
        self._problem = "the relationships have not been read yet"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower", daemon=True)
        #: Erased consumers of whom a document may still be made: their relationships are retracted in other
        #: partitions than their erasure is told in.
        self._leaving: set[tuple[str, str]] = set()
        #: In flight writes that were made from a state, by the numbers of that state.
        self._writing: list[Mapping[str, int]] = []
        self.scans = 0
        self.scan_seconds = 0.0
        self.changes = 0
        self.lost = 0
        #: What who read a tenant's part of a state found there.
        self._found: tuple[State, Inconsistent] | None = None
        self._checks = Checks(lambda: (source.numbers(), source.version), clock)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10.0)
        self._checks.stop()

    def problems(self) -> list[str]:
        """Why questions cannot be answered; empty when they can."""
        if not self._whole:
            return [self._problem]
        if self._checks.seconds_behind > _BEHIND_SECONDS:
            return [f"{self.lag} changes have not been read for {_BEHIND_SECONDS:.0f} s"]
        return []

    @contextmanager
    def reading(self, tenant: str) -> Iterator[State]:
        """The state, of which what concerns a tenant does not change within. Keep it short: the tenant's other
        questions wait, and its changes."""
        state = self._state
        with self._locks.of(tenant):
            try:
                self._catch_up(state, tenant)
            except Inconsistent as error:
                self._found = state, error
            with self._lock:
                seen = state.reached(tenant)
            try:
                yield state.as_of(seen)
            finally:
                state.measure(tenant)

    @property
    def tenants(self) -> set[str]:
        """The tenants that have relationships or providers."""
        return {*self._state.tenants}

    @property
    def lag(self) -> int:
        """How many changes were not followed yet when that was last compared."""
        return self._checks.lag

    @property
    def edges(self) -> int:
        """The relationships of all tenants."""
        return sum(tenant.graph.edges for tenant in list(self._state.tenants.values()))

    @property
    def held(self) -> list[Held]:
        """What the tenants hold, as of the last look at each."""
        return list(self._state.held.values())

    @property
    def outgrown(self) -> int:
        """How many tenants had more than there was room for."""
        return sum(tenant.outgrown for tenant in list(self._state.tenants.values()))

    @property
    def seen(self) -> Mapping[str, int]:
        """The numbers of the state that every answer and every stored document of this process is based on at
        least."""
        with self._lock:
            return _lowest([self._reached(), *self._writing]) if self._whole else {}

    def _reached(self) -> dict[str, int]:
        """Needs the lock."""
        return self._state.reached(*self._state.pending)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within, documents may be written that are made from the present state: ``seen`` does not pass it."""
        with self._lock:
            numbers = self._reached()
            self._writing.append(numbers)
        try:
            yield
        finally:
            with self._lock:
                self._writing = [each for each in self._writing if each is not numbers]

    def _work(self) -> None:
        while not self._stop.is_set():
            began = self._clock()
            try:
                self.once()
            except Unavailable as error:
                self._problem = str(error)
                log.warning("the relationships cannot be read, trying again: %s", error)
                self._stop.wait(1.0)
                continue
            except (TailLost, Inconsistent) as error:
                self.lost += 1
                log.warning("the relationships are read again: %s", error)
            except Exception as error:
                self._problem = f"the relationships cannot be read: {type(error).__name__}; see the log"
                log.exception("the relationships cannot be read; correct the cause, no restart is needed")
                self._stop.wait(_PAUSE_SECONDS)
            pause = max(_PAUSE_SECONDS, _PAUSES * self.scan_seconds) - (self._clock() - began)
            self._stop.wait(max(0.0, pause))

    def once(self, rounds: int | None = None) -> None:
        """Scan, and follow until the process stops (or for some rounds). Raises Unavailable, TailLost and
        Inconsistent, after which the state that was reached stays and everything is read again."""
        with closing(self._open_tail()) as tail:
            began = self._clock()
            # The version that the scan reads, or one before it: then the first check notices the switch.
            version = self._source.version
            state = self._source.scan(lambda: not self._stop.is_set(), self._most_edges)
            self.scans += 1
            self.scan_seconds = self._clock() - began
            marks = self._source.numbers()
            with self._lock:
                self._state = state
            self._keep_room()
            if self._listener is not None:
                self._listener.scanned()
            self._checks.begin(version)
            while not self._stop.is_set() and rounds != 0:
                rounds = None if rounds is None else rounds - 1
                self._take(tail)
                if not self._whole and _reached(state.seen, marks):
                    self._whole = True
                    log.info("the graph is whole: %d tenants, %.1f s", len(state.tenants), self.scan_seconds)
                self._check(wait=rounds is not None)

    def _take(self, tail: Tail) -> None:
        if self._found is not None and self._found[0] is self._state:
            raise self._found[1]
        try:
            records = tail.poll(100)
        except Unavailable as error:
            # The tail keeps its position. What is behind is noticed by the check.
            log.warning("changes cannot be read: %s", error)
            self._stop.wait(0.2)
            return
        for start in range(0, len(records), _PORTION):
            self._apply(records[start : start + _PORTION])
        self._keep_room()
        self._forget_again()

    def _keep_room(self) -> None:
        """Let go of the largest tenants, until the others have room: one tenant's growth is not the end of all."""
        state = self._state
        for name in state.crowding():
            self._put_aside(state, name, {}, state.tenants[name].forget_views)
        for name in state.outgrowing():
            log.error(
                "the tenants hold more than KITH_INTELLIGENCE_MAX_EDGES relationships of %d bytes; the %d of the "
                "tenant %s are not held any more, and its questions are refused until the process starts again",
                ROOM_BYTES,
                state.held[name].room,
                name,
            )
            state.outgrow(name)
            self._put_aside(state, name, {}, state.tenants[name].let_go)
        self._catch_up_all(state)

    def _forget_again(self) -> None:
        """Delete once more what is stored about erased consumers, now that nothing more can be made of them."""
        state = self._state
        with self._lock:
            if not self._leaving or self._writing:
                return
            gone = [
                (tenant, id)
                for tenant, id in self._leaving
                if tenant not in state.pending and not state.known(tenant).graph.degree("consumer", id)
            ]
        for tenant, id in gone:
            self._patiently(self._erased, tenant, id)
            self._leaving.discard((tenant, id))

    def _apply(self, records: Sequence[Record]) -> None:
        #: By side and tenant, the ids and the first numbers of their changes.
        profiles: dict[tuple[str, str], tuple[set[str], dict[str, int]]] = {}
        state = self._state
        # What was accepted has to be put aside before ``seen`` passes it.
        with self.writing():
            for record in records:
                numbered = any(name == NUMBER for name, _ in record.headers)
                try:
                    if record.partition.topic == self._relations:
                        change = decode_change(record.value or b"")
                        # What Kith has not numbered is not in MongoDB, either.
                        if numbered:
                            self._relation(state, record, change)
                    elif state.accept(record):
                        self._profile(record, profiles)
                except InvalidEvent as error:
                    self._patiently(self._unreadable, record, error)
                    if record.partition.topic == self._relations and numbered:
                        # Something has changed that cannot be known from the log.
                        raise Inconsistent("a change cannot be read") from error
            for (side, tenant), (ids, numbers) in profiles.items():
                self._patiently(self._refresh, state, side, tenant, sorted(ids), numbers)
        self._catch_up_all(state)

    def _relation(self, state: State, record: Record, change: RelationChange) -> None:
        """Put a change aside with its number: whoever reads the tenant's part sees both, or neither."""

        def act() -> None:
            state.apply(change)
            self._tell(change)

        with self._lock:
            if state.accept(record):
                state.put_aside(change.tenant, place_of(record), act)
                self.changes += 1

    def _put_aside(self, state: State, tenant: str, numbers: Mapping[str, int], act: Callable[[], None]) -> None:
        with self._lock:
            state.put_aside(tenant, numbers, act)

    def _catch_up(self, state: State, tenant: str) -> None:
        """Make the changes that were put aside for a tenant, in its turn. Raises Inconsistent, and goes no further
        then."""
        waiting = state.pending.get(tenant)
        if waiting is None:
            return
        for _ in range(len(waiting)):
            waiting[0].act()
            with self._lock:  # somebody may look through what all tenants have not reached
                waiting.popleft()
        with self._lock:
            if not waiting:
                state.pending.pop(tenant, None)

    def _catch_up_all(self, state: State) -> None:
        """The same for every tenant of whom nobody reads: who does, does it. Raises Inconsistent."""
        with self._lock:
            pending = list(state.pending.items())
        for tenant, waiting in pending:
            lock = self._locks.of(tenant)
            if len(waiting) > _MOST_PENDING:
                lock.__enter__()
            elif not lock.take_free():
                continue
            try:
                self._catch_up(state, tenant)
                state.measure(tenant)
            finally:
                lock.__exit__()

    def _tell(self, change: RelationChange) -> None:
        if self._listener is not None:
            facts = (change.data.before, change.data.after)
            providers = {fact.provider_id for fact in facts if fact is not None}
            self._listener.moved(change.tenant, change.data.consumer_id, providers)

    def _patiently(self, act: Callable[..., None], *arguments: object) -> None:
        """Do it as soon as the servers answer: otherwise everything would have to be read again."""
        while True:
            try:
                return act(*arguments)
            except Unavailable as error:
                log.warning("waiting to go on with the changes: %s", error)
                if self._stop.wait(0.5):
                    raise

    def _profile(self, record: Record, profiles: dict[tuple[str, str], tuple[set[str], dict[str, int]]]) -> None:
        side = "providers" if record.partition.topic == self._providers else "consumers"
        try:
            change = orjson.loads(record.value or b"")
            tenant, id = change["tenant"], change["data"][f"{side[:-1]}_id"]
            if not isinstance(tenant, str) or not isinstance(id, str):
                raise TypeError
            erased = side == "consumers" and change["data"].get("erased") is True
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise InvalidEvent("invalid", "is not a change of a profile") from None
        ids, numbers = profiles.setdefault((side, tenant), (set(), {}))
        ids.add(id)
        for origin, number in place_of(record).items():
            numbers.setdefault(origin, number)
        if erased:
            self._leaving.add((tenant, id))
            self._patiently(self._erased, tenant, id)

    def _refresh(
        self, state: State, side: str, tenant: str, ids: Sequence[str], numbers: Mapping[str, int]
    ) -> None:
        """Read changed profiles again: their changes, whose first are ``numbers``, have no values."""
        purpose = state.purpose_of(tenant)
        if side == "providers":
            found = self._source.providers(tenant, [*ids])
        elif purpose is not None:
            granted = self._source.granted(tenant, [*ids], purpose)

        def act() -> None:
            if side == "providers":
                for id, provider in found.items():
                    state.tenant(tenant).describe(id, provider)
                return
            if purpose is not None:
                for id in ids:
                    state.tenant(tenant).grant(id, id in granted)
            # After that: what is deleted now about who has withdrawn cannot be made again of the graph.
            if self._listener is not None:
                self._listener.described(tenant, ids)

        self._put_aside(state, tenant, numbers, act)

    def _check(self, *, wait: bool = True) -> None:
        """Raises TailLost."""
        self._checks.look(self._numbers, wait=wait)

    def _numbers(self) -> dict[str, int]:
        with self._lock:
            return dict(self._state.seen)


def _reached(seen: Mapping[str, int], marks: Mapping[str, int]) -> bool:
    return all(seen.get(origin, 0) >= number for origin, number in marks.items())


def _lowest(all: Sequence[Mapping[str, int]]) -> dict[str, int]:
    origins = {origin for each in all for origin in each}
    return {origin: min(each.get(origin, 0) for each in all) for origin in origins}
