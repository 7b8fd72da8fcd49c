"""Building a version beside the live one: the same runner, with every side effect suppressed."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any

from services.rebuild.reader import ThrottledReader
from shared.contracts.collections import Collections
from shared.contracts.errors import Unavailable
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import (
    Claim,
    Message,
    OutboxBatch,
    Outcome,
    Progress,
    Projection,
    Publisher,
    Reader,
    Slice,
    Store,
)
from shared.runtime.runner import Runner
from shared.versions.generations import Generations, Registry, place_of, settled
from shared.versions.live import VersionStore

_LOOK_SECONDS = 0.2


class Superseded(Exception):
    """This process has nothing more to build: another one has taken over, or the version is live or dropped."""


@dataclass(frozen=True)
class RebuildContext:
    """The dependencies of a rebuild of one projection. ``owner`` names this process in positions and handovers.

    ``open_store`` opens the store of a version, ``open_reader`` a reader of every partition of the projection's
    topics outside any consumer group; ``prepare`` creates a version's collections.
    """

    projection: Projection[Any]
    collections: Collections
    registry: Registry
    owner: str
    open_store: Callable[[int], Store]
    open_reader: Callable[[], Reader]
    open_publisher: Callable[[], Publisher]
    prepare: Callable[[int], None]
    slice_events: int = 1000
    open_committer: Callable[[], Executor | None] = lambda: None

    @property
    def name(self) -> str:
        return self.registry.name

    def series(self, place: str) -> str:
        """The name of a position in version 1."""
        return f"{self.name}@1/{place}"


class BuildingStore(VersionStore):
    """The store of a version beside the live one. Stores documents and progress, but no changes and no dead
    letters: the live version has already published and stored those."""

    def __init__(self, context: RebuildContext, version: int) -> None:
        super().__init__(context.open_store(version), version)
        self._context = context
        self._mine: set[str] = set()

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        """Raises Superseded when the version is no longer to be built, or no longer by this process."""
        registry, place = self._context.registry, place_of(position)
        if place in self._mine and (stand := registry.positions(self.version).get(place)) and stand.owner != owner:
            raise Superseded(f"{stand.owner} has taken over version {self.version} of {registry.name}")
        check_beside(registry.name, self.version, settled(registry), owner)
        found = super().claim(position, owner)
        # Checked after the claim, too: a drop or handover is announced first and then claims, which voids this
        # claim.
        check_beside(registry.name, self.version, settled(registry), owner)
        self._mine.add(place)
        return found

    def unpublished(self, position: str) -> list[OutboxBatch]:  # noqa: ARG002 - none of it may be published
        return []

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        writes = [write for write in slice.outcome.writes if write.collection != DEAD_LETTERS]
        return super().commit(replace(slice, outcome=Outcome(writes)))


def check_beside(name: str, version: int, found: Generations, owner: str) -> None:
    """Raises Superseded unless the version is beside the live one, and ``owner`` may move it."""
    if found.live == version:
        raise Superseded(f"version {version} of {name} is live now")
    if found.other != version:
        raise Superseded(f"version {version} of {name} has been dropped")
    if found.hand_over is not None and found.hand_over.owner != owner:
        raise Superseded(f"{found.hand_over.owner} is switching {name} to version {version}")


class LiveBounds:
    """The offsets of the live version, which a version beside it must never pass: the live version alone
    publishes. As of a moment ago; while MongoDB is unavailable, as of the last successful read."""

    def __init__(
        self, registry: Registry, version: int, owner: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry, self._version, self._owner = registry, version, owner
        self._clock = clock
        self._looked_at: float | None = None
        self._known: dict[str, int] = {}

    def __call__(self) -> Mapping[str, int]:
        """Raises Superseded when the version is no longer beside the live one."""
        if self._looked_at is None or self._clock() - self._looked_at >= _LOOK_SECONDS:
            try:
                found = settled(self._registry)
                check_beside(self._registry.name, self._version, found, self._owner)
                self._known = offsets(self._registry, found.live)
            except Unavailable:
                pass
            self._looked_at = self._clock()
        return self._known


def offsets(registry: Registry, version: int) -> dict[str, int]:
    """``topic/partition`` → the next offset that the version reads."""
    return {place: stand.next or 0 for place, stand in registry.positions(version).items()}


def build(
    context: RebuildContext,
    version: int,
    bounds: Callable[[], Mapping[str, int]],
    done: Callable[[Runner], bool],
    rate: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    reader: Reader | None = None,
) -> None:
    """Fold the log into ``version`` up to ``bounds``, until ``done`` returns true; it is called after each step.
    Closes ``reader`` if one is given.

    Raises Superseded, and every error other than InvalidEvent and Unavailable.
    """
    runner = Runner(
        ThrottledReader(reader or context.open_reader(), bounds, rate, clock),
        BuildingStore(context, version),
        _NullPublisher(),
        context.projection,
        owner=context.owner,
        dead_letters="",
        slice_events=context.slice_events,
        clock=clock,
        committer=context.open_committer(),
    )
    runner.run(_Until(lambda: done(runner)))


def arrived(runner: Runner, marks: Mapping[str, int]) -> bool:
    """Whether the runner has stored exactly the records below ``marks``. Raises Superseded if it is beyond
    them."""
    found = {str(partition): state for partition, state in runner.partitions.items() if state.opened}
    stored = {place: found[place].progress.next or 0 for place in marks if place in found}
    if beyond := [place for place, offset in stored.items() if offset > marks[place]]:
        raise Superseded(f"another process has advanced {', '.join(beyond)}")
    return all(mark == 0 or stored.get(place) == mark for place, mark in marks.items())


class _Until(threading.Event):
    """An event that is set once ``done`` returns true."""

    def __init__(self, done: Callable[[], bool]) -> None:
        super().__init__()
        self._done = done

    def is_set(self) -> bool:
        return self._done()


class _NullPublisher:
    """A Publisher that must never be used: a version beside the live one publishes nothing."""

    def send(self, messages: Sequence[Message]) -> "Future[None]":
        raise AssertionError(f"a version that is not live was to publish {len(messages)} messages")

    def close(self) -> None: ...


def lag(behind: Mapping[str, int], ahead: Mapping[str, int]) -> int:
    """Records between two sets of offsets."""
    return sum(max(0, offset - behind.get(place, 0)) for place, offset in ahead.items())
