"""What has changed and may concern lists that were shown, until somebody looks. Bounded, and nothing is lost:
where it does not fit, everything is looked at again. Thread-safe."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

#: (tenant, consumer)
Consumer = tuple[str, str]
MOST = 50_000


@dataclass(slots=True)
class Work:
    """``pairs`` are the providers of consumers with changed relations, ``consents`` consumers whose consents may
    have changed, ``everything`` whether all lists have to be looked at."""

    pairs: dict[Consumer, set[str]] = field(default_factory=dict)
    consents: set[Consumer] = field(default_factory=set)
    everything: bool = False

    def __bool__(self) -> bool:
        return bool(self.pairs or self.consents or self.everything)


class Touched:
    """What the follower tells (``services.intelligence.follower.Listener``)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._size = 0
        self._work = Work()

    def moved(self, tenant: str, consumer_id: str, provider_ids: Iterable[str]) -> None:
        with self._lock:
            known = self._work.pairs.setdefault((tenant, consumer_id), set())
            before = len(known)
            known.update(provider_ids)
            self._added(len(known) - before)

    def described(self, tenant: str, consumer_ids: Iterable[str]) -> None:
        with self._lock:
            before = len(self._work.consents)
            self._work.consents.update((tenant, id) for id in consumer_ids)
            self._added(len(self._work.consents) - before)

    def scanned(self) -> None:
        with self._lock:
            self._work, self._size = Work(everything=True), 0

    def take(self) -> Work:
        """Everything since the last call."""
        with self._lock:
            work, self._work, self._size = self._work, Work(), 0
            return work

    def put_back(self, work: Work) -> None:
        """What was taken could not be looked at."""
        if work.everything:
            self.scanned()
        for (tenant, consumer), providers in work.pairs.items():
            self.moved(tenant, consumer, providers)
        for tenant, consumer in work.consents:
            self.described(tenant, [consumer])

    def _added(self, count: int) -> None:
        self._size += count
        if self._size > MOST:
            self._work, self._size = Work(everything=True), 0
