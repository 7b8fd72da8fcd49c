"""What has changed and may concern lists that were shown, until somebody looks. Bounded, and nothing is lost: of a
tenant that has too much, all lists are looked at again. Thread-safe."""

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

#: (tenant, consumer)
Consumer = tuple[str, str]
#: Of one tenant, and of how many tenants at most all lists are looked at again; of more, those of all tenants are.
MOST, MOST_TENANTS = 50_000, 1_000


@dataclass(slots=True)
class Work:
    """``pairs`` are the providers of consumers with changed relations, ``consents`` consumers whose consents may
    have changed, ``tenants`` those of whom all lists have to be looked at, ``everything`` whether those of all
    have."""

    pairs: dict[Consumer, set[str]] = field(default_factory=dict)
    consents: set[Consumer] = field(default_factory=set)
    tenants: set[str] = field(default_factory=set)
    everything: bool = False

    def __bool__(self) -> bool:
        return bool(self.pairs or self.consents or self.tenants or self.everything)


class Touched:
    """What the follower tells (``services.intelligence.follower.Listener``)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: Counter[str] = Counter()
        self._work = Work()

    def moved(self, tenant: str, consumer_id: str, provider_ids: Iterable[str]) -> None:
        with self._lock:
            known = self._work.pairs.setdefault((tenant, consumer_id), set())
            before = len(known)
            known.update(provider_ids)
            self._added(tenant, len(known) - before)

    def described(self, tenant: str, consumer_ids: Iterable[str]) -> None:
        with self._lock:
            before = len(self._work.consents)
            self._work.consents.update((tenant, id) for id in consumer_ids)
            self._added(tenant, len(self._work.consents) - before)

    def scanned(self) -> None:
        with self._lock:
            self._begin(Work(everything=True))

    def take(self) -> Work:
        """Everything since the last call."""
        with self._lock:
            work = self._work
            self._begin(Work())
            return work

    def put_back(self, work: Work) -> None:
        """What was taken could not be looked at."""
        if work.everything:
            self.scanned()
        with self._lock:
            self._work.tenants |= work.tenants
        for (tenant, consumer), providers in work.pairs.items():
            self.moved(tenant, consumer, providers)
        for tenant, consumer in work.consents:
            self.described(tenant, [consumer])

    def _begin(self, work: Work) -> None:
        self._work = work
        self._sizes.clear()

    def _added(self, tenant: str, count: int) -> None:
        self._sizes[tenant] += count
        if self._sizes[tenant] <= MOST:
            return
        work = self._work
        work.pairs = {name: each for name, each in work.pairs.items() if name[0] != tenant}
        work.consents = {name for name in work.consents if name[0] != tenant}
        work.tenants.add(tenant)
        del self._sizes[tenant]
        if len(work.tenants) > MOST_TENANTS:
            self._begin(Work(everything=True))
