"""Switches between the two versions of a projection: a handover in small steps that may fail after any of them.

After every step exactly one version is live, and both can resume from their positions: either a process repeats
the handover, or it times out and the live version continues. Only the last step switches; it replaces one
document.
"""

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from services.rebuild.build import RebuildContext, Superseded, arrived, build, lag, offsets
from shared.contracts.errors import Fenced, Unavailable
from shared.runtime.protocols import Message, Outcome, Progress, Reader, Slice
from shared.runtime.runner import Runner
from shared.versions.generations import Handover, settled
from shared.versions.live import VersionStore

#: The time limit of a handover. After it the handover is void, and the live version continues.
PATIENCE_SECONDS = 30.0
#: Most records by which the version may be behind at the handover: they are folded while the live version is
#: stopped.
NEAR = 1_000

#: Maps the handover, and the progress at which each partition was stopped, to the changes that consumers need.
Corrections = Callable[[Handover, Mapping[str, Progress]], Mapping[str, list[Message]]]


class Failed(Exception):
    """The handover did not take place. The live version is still live."""


def near(context: RebuildContext, target: int) -> bool:
    """Whether the version is close enough to the live one to be switched to."""
    live = context.registry.read().live
    return lag(offsets(context.registry, target), offsets(context.registry, live)) <= NEAR


def hand_over(
    context: RebuildContext,
    target: int,
    corrections: Corrections = lambda _hand_over, _marks: {},
    patience_seconds: float = PATIENCE_SECONDS,
) -> Generator[str, None, None]:
    """Make ``target`` live. A generator: each step is done when it is consumed, and then reported.

    ``corrections`` is called while both versions are stopped. It returns the changes to publish first, by
    partition, numbered after the live version's last ones. Raises Failed. An error cancels the handover if MongoDB
    is available.
    """
    registry = context.registry
    found = settled(registry)
    if found.other != target:
        raise Failed(f"version {target} of {registry.name} is not beside the live one")
    until = registry.now() + timedelta(seconds=patience_seconds)
    # A handover that another process has abandoned is taken over: that process can no longer complete it.
    announced = found.handing_over(Handover(uuid.uuid4().hex, context.owner, target, until))
    # Opened before the announcement, because the service waits from then on.
    reader = context.open_reader()
    try:
        if not registry.replace(found, announced):
            raise Failed("another process is changing the versions; see `kith rebuild status` and retry")
        yield "announced"
        # From here on no worker gets a claim on the live version; existing claims become void.
        old = VersionStore(context.open_store(found.live), found.live)
        marks: dict[str, Progress] = {}
        stands = registry.positions(found.live)
        for place in sorted(stands):
            _, marks[place] = old.claim(context.series(place), context.owner)
            yield f"stopped {place} at {marks[place].next or 0}"
        # All its changes are published before any of the other version.
        yield from _publish_rest(context, old, marks)
        _bring(context, target, {place: mark.next or 0 for place, mark in marks.items()}, until, reader)
        yield f"folded version {target} to the same offsets"
        assert announced.hand_over is not None
        corrected = corrections(announced.hand_over, marks)
        yield f"found {sum(map(len, corrected.values()))} corrections"
        owners = {place: stand.owner for place, stand in stands.items()}
        yield from _number_on(context, target, marks, owners, corrected)
        if not registry.replace(announced, announced.switched(registry.now())):
            raise Failed(
                f"the handover took longer than {patience_seconds:.0f} s; version {found.live} stays live; retry"
            )
    except GeneratorExit:
        raise  # another process repeats the handover
    except BaseException as error:
        with suppress(Unavailable):  # then the handover times out
            registry.replace(announced, announced.cancelled())
        if isinstance(error, Superseded | Fenced | Unavailable):
            raise Failed(f"the handover failed, version {found.live} stays live: {error}") from error
        raise
    finally:
        reader.close()
    yield f"version {target} is live"
    with suppress(Unavailable):  # otherwise a worker publishes them with the next event
        yield from _publish_rest(context, VersionStore(context.open_store(target), target), corrected)


def _publish_rest(context: RebuildContext, store: VersionStore, places: Iterable[str]) -> Iterator[str]:
    """Publish a version's outbox, in order. Publishing twice does no harm: consumers drop known numbers."""
    publisher = None
    try:
        for place in places:
            series = context.series(place)
            for batch in store.unpublished(series):
                publisher = publisher or context.open_publisher()
                publisher.send(batch.messages).result()
                store.clear([batch.id])
                yield f"published the outbox of {place}"
    finally:
        if publisher is not None:
            publisher.close()


def _bring(
    context: RebuildContext, target: int, marks: Mapping[str, int], until: datetime, reader: Reader
) -> None:
    """Fold up to exactly the offsets at which the live version was stopped."""

    def done(runner: Runner) -> bool:
        if context.registry.now() > until:
            raise Failed(f"version {target} did not catch up in time; the live version stays live; retry")
        return arrived(runner, marks)

    if lag(offsets(context.registry, target), marks):
        build(context, target, lambda: marks, done, reader=reader)


def _number_on(
    context: RebuildContext,
    target: int,
    marks: Mapping[str, Progress],
    owners: Mapping[str, str],
    corrected: Mapping[str, list[Message]],
) -> Iterator[str]:
    """Continue the old version's sequence numbers in the new one. Its positions name the workers that will own
    them, though these claim them only with the next event."""
    store = VersionStore(context.open_store(target), target)
    for place, mark in marks.items():
        series = context.series(place)
        claim, progress = store.claim(series, owners[place])
        if progress.next != mark.next:
            raise Failed(f"version {target} is at {progress.next} of {place}, not at {mark.next}")
        messages = corrected.get(place, [])
        # Left by a handover that failed: these were not published, and must not be.
        store.clear([batch.id for batch in store.unpublished(series)])
        after = replace(progress, emitted=mark.emitted + len(messages))
        if mark.next is not None and (messages or after != progress):
            store.commit(Slice(claim, progress, after, Outcome(messages=messages)))
        yield f"numbered {place} on from {after.emitted}"
