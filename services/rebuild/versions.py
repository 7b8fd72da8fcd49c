"""The beginning and the end of a version beside the live one, and its way to the live one."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from services.rebuild.build import LiveBounds, RebuildContext, build
from services.rebuild.handover import near
from shared.contracts.errors import ConfigurationError
from shared.runtime.runner import Runner
from shared.versions.generations import Generations, settled
from shared.versions.live import VersionStore

#: Whoever reads the live version may take a second to notice that another one is.
READERS_SECONDS = 2.0


def begin(context: RebuildContext, firsts: Callable[[], Mapping[str, int]], *, incomplete: bool = False) -> int:
    """The number of the version that is built: the one that was begun before, or a new one.

    ``firsts`` gives the offsets at which the logs begin. Raises ConfigurationError when a version has to be
    dropped first, and when a log has lost its beginning, unless ``incomplete`` accepts that.
    """
    registry = context.registry
    found = settled(registry)
    if found.building is None:
        if found.other is not None or found.dropping is not None:
            kept = "is kept for a rollback" if found.other else "is dropped halfway"
            raise ConfigurationError(
                f"version {found.other or found.dropping} of {registry.name} {kept}; "
                f"`kith rebuild drop {registry.name}` frees it first"
            )
        gone = {place: first for place, first in firsts().items() if first}
        if gone and not incomplete:
            place, first = min(gone.items())
            raise ConfigurationError(
                f"{place} begins at {first}: what was before is gone, and a new version would lack it. "
                "--incomplete builds it from what is left"
            )
        new = found.with_new(registry.now())
        if not registry.replace(found, new):
            raise ConfigurationError("another process is at it; look at `kith rebuild status` and try again")
        found = new
    assert found.building is not None
    context.prepare(found.building)
    return found.building


def approach(
    context: RebuildContext, target: int, rate: float | None, tick: Callable[[], object] = lambda: None
) -> None:
    """Fold on until the version is close to the live one; ``tick`` is called all the time. Raises Superseded."""
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
    """Delete the version that is not live, with all that it has. Yields what has been done, step by step; one that
    was interrupted goes on. Raises ConfigurationError when there is none."""
    registry = context.registry
    found = settled(registry)
    if found.dropping is None:
        if found.other is None:
            raise ConfigurationError(
                f"version {found.live} of {registry.name} is live and the only one: there is nothing to drop"
            )
        if found.hand_over is not None:
            raise ConfigurationError(f"{found.hand_over.owner} is switching {registry.name}: wait for its end")
        announced = found.without_other()
        if not registry.replace(found, announced):
            raise ConfigurationError("another process is at it; look at `kith rebuild status` and try again")
        found = announced
        yield "announced"
    assert found.dropping is not None
    if found.switched_at is not None:
        ready = found.switched_at + timedelta(seconds=READERS_SECONDS)
        wait(max(0.0, (ready - registry.now()).total_seconds()))
    # Whoever still builds it has a claim that is void from here on, and gets no other.
    store = VersionStore(context.open_store(found.dropping), found.dropping)
    for place in sorted(registry.positions(found.dropping)):
        store.claim(context.series(place), context.owner)
        yield f"stopped {place}"
    registry.delete(found.dropping, context.collections)
    yield "deleted"
    registry.replace(found, found.dropped())
    yield f"version {found.dropping} is dropped"


def state_of(version: int, found: Generations) -> str:
    """What a version is for, in words."""
    if version == found.live:
        return "live"
    if version == found.building:
        return "being built"
    return "previous" if version == found.previous else "being dropped"


def versions_of(found: Generations) -> list[int]:
    return sorted({found.live, *(v for v in (found.other, found.dropping) if v is not None)})
