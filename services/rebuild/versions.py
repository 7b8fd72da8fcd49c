"""Begins and drops a version beside the live one, and catches up with the live one."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from services.rebuild.build import LiveBounds, RebuildContext, build
from services.rebuild.handover import near
from shared.contracts.errors import ConfigurationError
from shared.runtime.runner import Runner
from shared.versions.generations import Generations, settled
from shared.versions.live import VersionStore

#: Readers of the live version may take a second to notice a switch.
READERS_SECONDS = 2.0


def begin(context: RebuildContext, firsts: Callable[[], Mapping[str, int]], *, incomplete: bool = False) -> int:
    """The number of the version to build: one that was begun before, or a new one.

    ``firsts`` returns the first offsets of the logs. Raises ConfigurationError if a version must be dropped first,
    or if a log has lost its beginning and ``incomplete`` does not accept that.
    """
    registry = context.registry
    found = settled(registry)
    if found.building is None:
        if found.other is not None or found.dropping is not None:
            kept = "is kept for a rollback" if found.other else "is only partly dropped"
            raise ConfigurationError(
                f"version {found.other or found.dropping} of {registry.name} {kept}; "
                f"`kith rebuild drop {registry.name}` frees it first"
            )
        gone = {place: first for place, first in firsts().items() if first}
        if gone and not incomplete:
            place, first = min(gone.items())
            raise ConfigurationError(
                f"{place} begins at {first}: earlier events are deleted, and a new version would lack them. "
                "--incomplete builds it from the remaining ones"
            )
        new = found.with_new(registry.now())
        if not registry.replace(found, new):
            raise ConfigurationError(
                "another process is changing the versions; see `kith rebuild status` and retry"
            )
        found = new
    assert found.building is not None
    context.prepare(found.building)
    return found.building


def approach(
    context: RebuildContext, target: int, rate: float | None, tick: Callable[[], object] = lambda: None
) -> None:
    """Fold until the version is close to the live one; ``tick`` is called after each step. Raises Superseded."""
    if near(context, target):
        return
    looked_at = time.monotonic()

    def done(_: Runner) -> bool:
        nonlocal looked_at
        tick()
        if time.monotonic() - looked_at < 0.2:
            return False
        looked_at = time.monotonic()
        return near(context, target)

    build(context, target, LiveBounds(context.registry, target, context.owner), done, rate)


def drop(context: RebuildContext, wait: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """Delete the version that is not live, with all its documents. Yields each step done; resumes an interrupted
    drop. Raises ConfigurationError when there is none."""
    registry = context.registry
    found = settled(registry)
    if found.dropping is None:
        if found.other is None:
            raise ConfigurationError(
                f"version {found.live} of {registry.name} is live and the only one: there is nothing to drop"
            )
        if found.hand_over is not None:
            owner = found.hand_over.owner
            raise ConfigurationError(f"{owner} is switching {registry.name}; retry when it is done")
        announced = found.without_other()
        if not registry.replace(found, announced):
            raise ConfigurationError(
                "another process is changing the versions; see `kith rebuild status` and retry"
            )
        found = announced
        yield "announced"
    assert found.dropping is not None
    if found.switched_at is not None:
        ready = found.switched_at + timedelta(seconds=READERS_SECONDS)
        wait(max(0.0, (ready - registry.now()).total_seconds()))
    # The claims of a process that still builds it are void from here on, and it gets no others.
    store = VersionStore(context.open_store(found.dropping), found.dropping)
    for place in sorted(registry.positions(found.dropping)):
        store.claim(context.series(place), context.owner)
        yield f"stopped {place}"
    registry.delete(found.dropping, context.collections)
    yield "deleted"
    registry.replace(found, found.dropped())
    yield f"version {found.dropping} is dropped"


def state_of(version: int, found: Generations) -> str:
    """The state of a version, in words."""
    if version == found.live:
        return "live"
    if version == found.building:
        return "being built"
    return "previous" if version == found.previous else "being dropped"


def versions_of(found: Generations) -> list[int]:
    return sorted({found.live, *(v for v in (found.other, found.dropping) if v is not None)})
