"""The versions of a projection: one is live, another may be built or kept beside it. Pure.

Version 1 has the plain names. Version n > 1 keeps its documents in collections like ``relations@2``, and its
positions under names like ``relations@2/kith.relations/0``. Dead letters are not versioned, because they belong to
the log. Nor are data keys: a destroyed key is destroyed for every version. Nor are the sequence numbers of
changes: a switch carries them over (``kith-origin`` keeps the name of version 1), so readers of changes do not
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
    """The phase of a switch in which neither version makes progress: the live one is stopped, and ``target``
    catches up to exactly where it stopped.

    It expires at ``until`` (by the store's clock). Any process may cancel it then, so a switch that died does not
    stop the service for longer.
    """

    id: str
    owner: str
    target: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Generations:
    """The versions of one projection, at most two. ``building`` has never been live, ``previous`` has; at most one
    of them exists. ``dropping`` is a version whose data is being deleted. ``last`` is the highest number ever
    assigned; numbers are not reused."""

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
        """Start a new version. Raises ConfigurationError when another version exists beside the live one."""
        if self.other is not None or self.dropping is not None:
            raise ConfigurationError(f"version {self.other or self.dropping} has to be dropped first")
        return replace(self, building=self.last + 1, last=self.last + 1, started_at=now)

    def handing_over(self, hand_over: Handover) -> "Generations":
        return replace(self, hand_over=hand_over)

    def cancelled(self) -> "Generations":
        """Cancel the handover: the live version continues."""
        return replace(self, hand_over=None)

    def switched(self, now: datetime) -> "Generations":
        """The target of the handover becomes live; the former live version is kept."""
        assert self.hand_over is not None
        target = self.hand_over.target
        return replace(
            self, live=target, building=None, previous=self.live, hand_over=None, switched_at=now, started_at=None
        )

    def without_other(self) -> "Generations":
        """Mark the version beside the live one for deletion."""
        return replace(self, building=None, previous=None, dropping=self.other, started_at=None)

    def dropped(self) -> "Generations":
        return replace(self, dropping=None)


class PartitionPosition(NamedTuple):
    """How far a version has processed a partition: the next offset (None: nothing stored), the owner of the last
    claim, and the number of its last change."""

    next: int | None
    owner: str
    emitted: int


class Registry(Protocol):
    """Stores the versions of one projection, and finds what belongs to each besides its documents. Every method
    raises Unavailable while the servers are unavailable."""

    @property
    def name(self) -> str:
        """The name of the projection."""

    def read(self) -> Generations: ...

    def replace(self, before: Generations, after: Generations) -> bool:
        """Store ``after`` if ``before`` is still stored (compare-and-set). Returns whether it was."""

    def now(self) -> datetime:
        """The time by the store's clock."""

    def positions(self, version: int) -> dict[str, PartitionPosition]:
        """``topic/partition`` → position, of every partition that was ever claimed for the version."""

    def delete(self, version: int, collections: Collections) -> None:
        """Delete the version's collections (given by their names for version 1), outbox and positions."""


def settled(registry: Registry) -> Generations:
    """The versions, after cancelling an expired handover."""
    found = registry.read()
    if found.hand_over is not None and registry.now() > found.hand_over.until:
        registry.replace(found, found.cancelled())
        return registry.read()
    return found


def live_version(registry: Registry) -> int:
    """The version that workers use. Raises Unavailable during a handover."""
    found = settled(registry)
    if found.hand_over is not None:
        raise Unavailable(
            f"{registry.name} is being handed over from version {found.live} to {found.hand_over.target}"
        )
    return found.live


def collection_of(name: str, version: int) -> str:
    """The name of a collection for a version."""
    return name if version == FIRST or name in _SHARED else f"{name}@{version}"


def collections_of(collections: Collections, version: int) -> Collections:
    """The collections of a projection under their names for a version."""
    return {collection_of(name, version): spec for name, spec in collections.items()}


def own_collections(collections: Collections) -> Collections:
    """The collections that each version has for itself."""
    return {name: spec for name, spec in collections.items() if name not in _SHARED}


def position_of(series: str, version: int) -> str:
    """The position of a version, from its name for version 1: ``relations@1/kith.relations/0``."""
    return f"{series.partition('@')[0]}@{version}/{place_of(series)}"


def version_of(position: str) -> int:
    """The version in a position: 2 of ``relations@2/kith.relations/0``."""
    return int(position.partition("/")[0].partition("@")[2])


def place_of(position: str) -> str:
    """The partition in a position: ``kith.relations/0`` of ``relations@2/kith.relations/0``."""
    return position.partition("/")[2]
