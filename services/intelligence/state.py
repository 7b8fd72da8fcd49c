"""The state of one process: the graphs of all tenants, the facts about providers, and how far both follow. Pure.

The graphs are exactly those of the relationships as of ``seen``, the number of the last change of each origin.
They begin as one snapshot of MongoDB, in which the relations service stores its numbers in the same transactions
as its documents, and move by the differences of the changes that follow. Two processes with the same ``seen`` hold
the same graphs.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from services.intelligence.consented import purpose_for
from services.intelligence.engine.graph import Building, Graph
from services.intelligence.rows import Kinds, counts, kinds_of, providers_of
from shared.contracts.changes import Fact, RelationChange
from shared.runtime.sequence_numbers import SequenceFilter

#: Categories whose providers are kept as sets.
_CATEGORIES = 100


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


@dataclass(slots=True)
class Tenant:
    """One tenant's graph and providers. ``withheld`` holds the relationships of consumers who have not granted the
    purpose that the tenant's data is used for, if it has one: consumer → provider → kinds."""

    graph: Graph = field(default_factory=Graph)
    providers: dict[str, Provider] = field(default_factory=dict)
    purpose: str | None = None
    granted: set[str] = field(default_factory=set)
    withheld: dict[str, dict[str, Kinds]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    #: Whether it had more relationships than there was room for: then none of them is kept, and none comes.
    outgrown: bool = False
    #: How often facts about providers were set.
    described: int = 0
    _categories: dict[str, frozenset[str]] = field(default_factory=dict)

    def describe(self, provider_id: str, provider: Provider) -> None:
        """Set the facts about a provider."""
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
            if len(self._categories) >= _CATEGORIES:
                self._categories.clear()
            self._categories[category] = found
        return found

    def put(self, consumer: str, provider: str, kinds: Kinds | None) -> None:
        """Set one relationship; None removes it."""
        if self.purpose is None or consumer in self.granted:
            self.graph.put(consumer, provider, kinds)
        elif kinds:
            self.withheld.setdefault(consumer, {})[provider] = kinds
        elif consumer in self.withheld:
            self.withheld[consumer].pop(provider, None)
            if not self.withheld[consumer]:
                del self.withheld[consumer]

    def let_go(self) -> None:
        """Keep no relationship from now on."""
        self.outgrown, self.graph, self.withheld = True, Graph(), {}

    def move(self, consumer: str, provider: str, kind: str, month: str, by: int) -> None:
        """Add relations to a relationship, or take them away (``by`` is negative). Raises Inconsistent."""
        if self.outgrown:
            return
        if self.purpose is None or consumer in self.granted:
            try:
                self.graph.move(consumer, provider, kind, month, by)
            except ValueError as error:
                raise Inconsistent("a relation is retracted that is not there") from error
            return
        kinds = self.withheld.get(consumer, {}).get(provider, {})
        if by < 0 and month not in kinds.get(kind, ()):
            kind = self.graph.cells.counted_as(kind)
        _move(kinds, kind, month, by)
        self.put(consumer, provider, kinds or None)

    def kinds(self, consumer: str, provider: str) -> Kinds:
        """The relations of a pair by kind and month, in counts. A copy."""
        if self.purpose is None or consumer in self.granted:
            return kinds_of(self.graph, consumer, provider)
        return copy.deepcopy(self.withheld.get(consumer, {}).get(provider, {}))

    def grant(self, consumer: str, granted: bool) -> None:
        """Move the relationships of a consumer into the graph, or out of it."""
        if granted == (consumer in self.granted):
            return
        if granted:
            self.granted.add(consumer)
            for provider, kinds in self.withheld.pop(consumer, {}).items():
                self.graph.put(consumer, provider, kinds)
            return
        rows = {
            provider: kinds_of(self.graph, consumer, provider) for provider in providers_of(self.graph, consumer)
        }
        for provider in rows:
            self.graph.put(consumer, provider, None)
        self.granted.discard(consumer)
        if rows:
            self.withheld[consumer] = rows


class State:
    """All tenants. ``purposes`` is tenant → the purpose that its data is used for, ``*`` for all others."""

    def __init__(self, seen: Mapping[str, int], purposes: Mapping[str, str] | None = None) -> None:
        self.seen = dict(seen)
        self._filter = SequenceFilter(self.seen, trimmed=False)
        self._purposes = purposes or {}
        self.tenants: dict[str, Tenant] = {}
        self.changes = 0

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
        building: dict[str, Building] = {}
        for each in relationships:
            name, consumer = each["tenant"], each["consumer_id"]
            tenant = self.tenant(name)
            if tenant.purpose is not None and consumer not in tenant.granted:
                tenant.put(consumer, each["provider_id"], counts(each["kinds"]))
                continue
            if name not in building:
                building[name] = Building(tenant.graph)
            building[name].add(consumer, each["provider_id"], each["kinds"])
        for each_building in building.values():
            each_building.graph()

    def apply(self, change: RelationChange) -> None:
        """Move one fact. Raises Inconsistent."""
        data = change.data
        tenant = self.tenant(change.tenant)
        old, new = data.before, data.after
        self.changes += 1
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


def _move(kinds: Kinds, kind: str, month: str, sign: int) -> None:
    months = kinds.setdefault(kind, {})
    count = months.get(month, {"count": 0})["count"] + sign
    if count < 0:
        raise Inconsistent("a relation is retracted that is not there")
    if count:
        months[month] = {"count": count}
    else:
        del months[month]
    if not months:
        del kinds[kind]
