"""The versions of a projection: which one is live, and which one is built or kept beside it. Pure.

Version 1 has the plain names; version n > 1 keeps its documents in collections like ``relations@2`` and its
positions under names like ``relations@2/kith.relations/0``. Dead letters are not versioned: they belong to the
log. Neither are data keys: what is destroyed is destroyed for every version. The numbers of changes are not,
either: a switch carries them over (``kith-origin`` stays the name of version 1), so readers of changes do not
notice it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Protocol

from shared.contracts.collections import Collections
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.vault.schema import DATA_KEYS

FIRST = 1
_SHARED = (DEAD_LETTERS, DATA_KEYS)


@dataclass(frozen=True, slots=True)
class Handover:
    """The stretch of a switch in which neither version moves on: the live one has been stopped, and ``target``
    is being brought to exactly where it was stopped.

    It is void after ``until`` (by the store's clock): whoever finds it then may cancel it, so that a switch
    that died cannot hold up the service for longer.
    """

    id: str
    owner: str
    target: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Generations:
    """The versions of one projection, at most two. ``building`` has never been live, ``previous`` has; at most
    one of them is there. ``dropping`` is a version whose data is being deleted, ``last`` the highest number
    ever given: numbers are not used again."""

    live: int = FIRST
    building: int | None = None
    previous: int | None = None
    dropping: int | None = None
    last: int = FIRST
    hand_over: Handover | None = None
    started_at: datetime | None = None
    switched_at: datetime | None = None

    @property
    def other(self) -> int | None:
        """The version beside the live one."""
        return self.building or self.previous

    def with_new(self, now: datetime) -> "Generations":
        """A new version is begun. Raises ConfigurationError when there is one beside the live one already."""
        if self.other is not None or self.dropping is not None:
            raise ConfigurationError(f"version {self.other or self.dropping} has to be dropped first")
        return replace(self, building=self.last + 1, last=self.last + 1, started_at=now)

    def handing_over(self, hand_over: Handover) -> "Generations":
        return replace(self, hand_over=hand_over)

    def cancelled(self) -> "Generations":
        """The handover is off: the live version goes on."""
        return replace(self, hand_over=None)

    def switched(self, now: datetime) -> "Generations":
        """The target of the handover is live now, and the version that was is kept."""
        assert self.hand_over is not None
        target = self.hand_over.target
        return replace(
            self, live=target, building=None, previous=self.live, hand_over=None, switched_at=now, started_at=None
        )

    def without_other(self) -> "Generations":
        """The version beside the live one is to be deleted."""
        return replace(self, building=None, previous=None, dropping=self.other, started_at=None)

    def dropped(self) -> "Generations":
        return replace(self, dropping=None)


class PartitionPosition(NamedTuple):
    """How far a version is with a partition: the offset to read on from (None: nothing stored), who claimed it
    last, and the changes that it has numbered."""

    next: int | None
    owner: str
    emitted: int


class Registry(Protocol):
    """Where the generations of one projection are kept, and what belongs to each version beside its documents.
    Every method raises Unavailable while the servers are unavailable."""

    @property
    def name(self) -> str:
        """The projection's."""

    def read(self) -> Generations: ...

    def replace(self, before: Generations, after: Generations) -> bool:
        """Store ``after`` if ``before`` is still what is stored; says whether it was."""

    def now(self) -> datetime:
        """By the store's clock."""

    def positions(self, version: int) -> dict[str, PartitionPosition]:
        """``topic/partition`` → stand, of every partition that was ever claimed for the version."""

    def delete(self, version: int, collections: Collections) -> None:
        """Delete the version's collections (named as they are for version 1), outbox and positions."""


def settled(registry: Registry) -> Generations:
    """The generations, after a handover that is overdue has been cancelled."""
    found = registry.read()
    if found.hand_over is not None and registry.now() > found.hand_over.until:
        registry.replace(found, found.cancelled())
        return registry.read()
    return found


def live_version(registry: Registry) -> int:
    """The version to work on, for workers. Raises Unavailable while a handover is under way."""
    found = settled(registry)
    if found.hand_over is not None:
        raise Unavailable(
            f"{registry.name} is being handed over from version {found.live} to {found.hand_over.target}"
        )
    return found.live


def collection_of(name: str, version: int) -> str:
    """What a collection is called for a version."""
    return name if version == FIRST or name in _SHARED else f"{name}@{version}"


def collections_of(collections: Collections, version: int) -> Collections:
    """A projection's collections under the names that they have for a version."""
    return {collection_of(name, version): spec for name, spec in collections.items()}


def own_collections(collections: Collections) -> Collections:
    """Those that each version has for itself."""
    return {name: spec for name, spec in collections.items() if name not in _SHARED}


def position_of(series: str, version: int) -> str:
    """The position of a version, given its name for version 1: ``relations@1/kith.relations/0``."""
    return f"{series.partition('@')[0]}@{version}/{place_of(series)}"


def version_of(position: str) -> int:
    """2 of ``relations@2/kith.relations/0``."""
    return int(position.partition("/")[0].partition("@")[2])


def place_of(position: str) -> str:
    """``kith.relations/0`` of ``relations@2/kith.relations/0``."""
    return position.partition("/")[2]
