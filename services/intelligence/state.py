"""The state of one process: the graphs of all tenants, the facts about providers, and how far both follow. Pure.

The graphs are exactly those of the relationships as of ``seen``, the number of the last change of each origin.
They begin as one snapshot of MongoDB, in which the relations service stores its numbers in the same transactions
as its documents, and move by the differences of the changes that follow. Two processes with the same ``seen`` hold
the same graphs.
"""

import copy
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from math import ceil
from typing import Any, NamedTuple

from services.intelligence.consented import purpose_for
from services.intelligence.engine.graph import Building, Graph
from services.intelligence.rows import Kinds, kinds_of, providers_of
from shared.contracts.changes import Fact, RelationChange
from shared.runtime.sequence_numbers import SequenceFilter

#: Categories whose providers are kept as sets, and how many of a tenant's providers these may have together.
_CATEGORIES, _LISTED = 100, 4
#: No bound on what a state holds.
UNBOUNDED = 1 << 62
#: A relationship may take so much memory; what a tenant has beyond that counts as further relationships.
ROOM_BYTES = 64
#: Of what a tenant has besides its relationships, so much does not count.
_FREE_BYTES = 64 * 1024
#: Memory of a provider besides its texts (with its place in the sets of categories and in the profiles of a
#: learned model), and of a consent besides the id.
_PROVIDER_BYTES, _CONSENT_BYTES = 1_000, 100


class Inconsistent(Exception):
    """A change does not fit what is there. The state has to be read again."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of a provider besides its relationships. The state is empty for an unknown one."""

    name: str | None = None
    categories: tuple[str, ...] = ()
    place: tuple[float, float] | None = None
    city: str | None = None
    closed: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Provider":
        location = document.get("location") or {}
        lat, lon = location.get("lat"), location.get("lon")
        return cls(
            document.get("name"),
            tuple(document.get("categories") or ()),
            None if lat is None or lon is None else (float(lat), float(lon)),
            location.get("city"),
            bool(document.get("closed")),
        )

    def nbytes(self, id: str) -> int:
        """Bytes of memory, about."""
        texts = (id, self.name, self.city, *self.categories)
        return _PROVIDER_BYTES + sum(sys.getsizeof(text) for text in texts if text is not None)


class Held(NamedTuple):
    """What a tenant has in memory. ``room`` and ``views`` (the graphs of single kinds, which are made again when
    they are needed) are numbers of relationships of ``ROOM_BYTES``."""

    room: int = 0
    views: int = 0
    edges: int = 0
    consumers: int = 0
    providers: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Tenant:
    """One tenant's graph and providers. ``withheld`` has the relationships of consumers who have not granted the
    purpose that the tenant's data is used for, if it has one."""

    graph: Graph = field(default_factory=Graph)
    providers: dict[str, Provider] = field(default_factory=dict)
    purpose: str | None = None
    granted: set[str] = field(default_factory=set)
    withheld: Graph = field(init=False)
    closed: set[str] = field(default_factory=set)
    #: Whether it had more than there was room for: then nothing of it is kept, and nothing comes.
    outgrown: bool = False
    #: How often facts about providers were set.
    described: int = 0
    #: What was made of all this, and what of: it goes with it.
    made: tuple[object, Any] | None = None
    _categories: dict[str, frozenset[str]] = field(default_factory=dict)
    #: Of providers and consents.
    _bytes: int = 0

    def __post_init__(self) -> None:
        self.withheld = self.graph.beside()

    def describe(self, provider_id: str, provider: Provider) -> None:
        """Set the facts about a provider."""
        if self.outgrown:
            return
        if (before := self.providers.get(provider_id)) is not None:
            self._bytes -= before.nbytes(provider_id)
        self._bytes += provider.nbytes(provider_id)
        self.providers[provider_id] = provider
        self.described += 1
        self._categories.clear()
        if provider.closed:
            self.closed.add(provider_id)
        else:
            self.closed.discard(provider_id)

    def of_category(self, category: str) -> frozenset[str]:
        """The providers of a category."""
        if (found := self._categories.get(category)) is None:
            found = frozenset(id for id, provider in self.providers.items() if category in provider.categories)
            listed = len(found) + sum(map(len, self._categories.values()))
            if len(self._categories) >= _CATEGORIES or listed > _LISTED * len(self.providers):
                self._categories.clear()
            self._categories[category] = found
        return found

    def put(self, consumer: str, provider: str, kinds: Kinds | None) -> None:
        """Set one relationship; None removes it."""
        self.of(consumer).put(consumer, provider, kinds)

    def of(self, consumer: str) -> Graph:
        """The graph that has the relationships of a consumer."""
        return self.graph if self.purpose is None or consumer in self.granted else self.withheld

    def forget_views(self) -> None:
        """Forget what is made again when it is needed."""
        self.graph.forget_views()
        self.withheld.forget_views()

    def let_go(self) -> None:
        """Keep nothing from now on."""
        self.outgrown = True
        self.graph, self.made = Graph(), None
        self.withheld = self.graph.beside()
        for kept in (self.providers, self.granted, self.closed, self._categories):
            kept.clear()
        self._bytes = 0

    def move(self, consumer: str, provider: str, kind: str, month: str, by: int) -> None:
        """Add relations to a relationship, or take them away (``by`` is negative). Raises Inconsistent."""
        if self.outgrown:
            return
        try:
            self.of(consumer).move(consumer, provider, kind, month, by)
        except ValueError as error:
            raise Inconsistent("a relation is retracted that is not there") from error

    def kinds(self, consumer: str, provider: str) -> Kinds:
        """The relations of a pair by kind and month, in counts. A copy."""
        return kinds_of(self.of(consumer), consumer, provider)

    def grant(self, consumer: str, granted: bool) -> None:
        """Move the relationships of a consumer into the graph, or out of it."""
        if self.outgrown or granted == (consumer in self.granted):
            return
        before = self.of(consumer)
        (self.granted.add if granted else self.granted.discard)(consumer)
        self._bytes += (_CONSENT_BYTES + sys.getsizeof(consumer)) * (1 if granted else -1)
        after = self.of(consumer)
        for provider in providers_of(before, consumer):
            after.put(consumer, provider, kinds_of(before, consumer, provider))
            before.put(consumer, provider, None)

    def held(self, building: int = 0) -> Held:
        """What is in memory; ``building`` relationships come to it."""
        edges = self.graph.edges + self.withheld.edges + building
        views = self.graph.views_nbytes() + self.withheld.views_nbytes()
        own = self.graph.nbytes() + self.withheld.nbytes() - views
        names = self.graph.names
        return Held(
            max(edges, ceil((own + self._bytes - _FREE_BYTES) / ROOM_BYTES)),
            views // ROOM_BYTES,
            self.graph.edges,
            len(names["consumer"]),
            len(names["provider"]),
            own + views + self._bytes,
        )


class Pending(NamedTuple):
    """A change of a tenant that waits for its turn. ``numbers`` are the first that it follows from, by origin."""

    numbers: Mapping[str, int]
    act: Callable[[], None]


class State:
    """All tenants. ``purposes`` is tenant → the purpose that its data is used for, ``*`` for all others. ``most``
    is the bound on what they hold, in relationships."""

    def __init__(
        self,
        seen: Mapping[str, int],
        purposes: Mapping[str, str] | None = None,
        most: int = UNBOUNDED,
    ) -> None:
        self.seen = dict(seen)
        self.most = most
        self._filter = SequenceFilter(self.seen, trimmed=False)
        self._purposes = purposes or {}
        self.tenants: dict[str, Tenant] = {}
        #: By tenant, as of when it was measured last.
        self.held: dict[str, Held] = {}
        #: What of ``seen`` has not reached its tenant yet, in order; only tenants that have some.
        self.pending: dict[str, deque[Pending]] = {}
        self._building: dict[str, list[tuple[Graph, Building]]] = {}

    @property
    def ahead(self) -> int:
        """How many changes came before others that are missing."""
        return self._filter.ahead

    @property
    def repeated(self) -> int:
        return self._filter.repeated

    def accept(self, record: Any) -> bool:
        """Whether a record of a change topic is the next of its origin. Raises InvalidEvent."""
        return self._filter.accept(record)

    def as_of(self, seen: dict[str, int]) -> "State":
        """The same tenants, for who reads one that has reached ``seen``."""
        made = copy.copy(self)
        made.seen = seen
        return made

    def put_aside(self, tenant: str, numbers: Mapping[str, int], act: Callable[[], None]) -> None:
        """Add a change that waits for the turn of its tenant."""
        self.pending.setdefault(tenant, deque()).append(Pending(numbers, act))

    def reached(self, *tenants: str) -> dict[str, int]:
        """The numbers that tenants have reached, by origin."""
        found = dict(self.seen)
        for tenant in tenants:
            for each in self.pending.get(tenant, ()):
                found |= {origin: min(found[origin], number - 1) for origin, number in each.numbers.items()}
        return found

    def purpose_of(self, tenant: str) -> str | None:
        return purpose_for(self._purposes, tenant)

    def tenant(self, name: str) -> Tenant:
        """A tenant, which is made where it is new."""
        found = self.tenants.get(name)
        if found is None:
            found = self.tenants[name] = Tenant(purpose=self.purpose_of(name))
        return found

    def known(self, name: str) -> Tenant:
        """A tenant, empty where it is unknown. Nothing is stored."""
        return self.tenants.get(name) or Tenant(purpose=self.purpose_of(name))

    def load(self, relationships: Iterable[Mapping[str, Any]]) -> None:
        """Fill a new state with stored relationships, each once. Consents come before."""
        for each in relationships:
            name, consumer = each["tenant"], each["consumer_id"]
            tenant = self.tenant(name)
            if not tenant.outgrown:
                self._builds(name, tenant.of(consumer)).add(consumer, each["provider_id"], each["kinds"])
        for some in self._building.values():
            for _, building in some:
                building.graph()
        self._building.clear()
        self.measure(*self.tenants)

    def _builds(self, name: str, graph: Graph) -> Building:
        some = self._building.setdefault(name, [])
        for of, building in some:
            if of is graph:
                return building
        some.append((graph, Building(graph)))
        return some[-1][1]

    def measure(self, *names: str) -> None:
        """Look again at what tenants hold."""
        for name in names:
            if (tenant := self.tenants.get(name)) is not None:
                built = sum(len(building) for _, building in self._building.get(name, ()))
                self.held[name] = Held() if tenant.outgrown else tenant.held(built)

    def keep_room(self) -> None:
        """While the state is read: let go of the largest tenants, until the others have room."""
        self.measure(*self.tenants)
        for name in self.outgrowing():
            self._building.pop(name, None)
            self.outgrow(name)
            self.tenants[name].let_go()

    def outgrow(self, name: str) -> None:
        """Refuse a tenant from now on. Its memory is free after ``let_go``."""
        self.tenants[name].outgrown, self.held[name] = True, Held()

    def outgrowing(self) -> list[str]:
        """The largest tenants, without which the others have room."""
        held = list(self.held.items())
        found, total = list[str](), sum(each.room for _, each in held)
        for name, each in sorted(held, key=lambda item: -item[1].room):
            if total <= self.most:
                break
            found.append(name)
            total -= each.room
        return found

    def crowding(self) -> list[str]:
        """The tenants whose views are too many, the largest first."""
        held = list(self.held.items())
        found, total = list[str](), sum(each.room + each.views for _, each in held)
        for name, each in sorted(held, key=lambda item: -item[1].views):
            if total <= self.most or not each.views:
                break
            found.append(name)
            total -= each.views
        return found

    def apply(self, change: RelationChange) -> None:
        """Move one fact. Raises Inconsistent."""
        data = change.data
        tenant = self.tenant(change.tenant)
        old, new = data.before, data.after
        if old is not None and new is not None and _cell(old) == _cell(new) and old.provider_id == new.provider_id:
            return  # neither kind nor month has moved
        # In this order, so that a relationship that stays is not removed in between.
        for fact, by in ((new, 1), (old, -1)):
            if fact is not None:
                tenant.move(data.consumer_id, fact.provider_id, *_cell(fact), by)


class Still:
    """A state that does not follow, for commands."""

    def __init__(self, state: State) -> None:
        self._state = state

    @contextmanager
    def reading(self, _: str) -> Iterator[State]:
        yield self._state


def _cell(fact: Fact) -> tuple[str, str]:
    time = fact.time.astimezone(UTC)
    return fact.kind, f"{time.year:04d}-{time.month:02d}"
