"""Switching between the two versions of a projection: a handover in small steps, each of which may be the last.

Whatever the step, one version is live, and both go on from where they are: either someone begins the handover
anew, or it is overdue and the live version goes on. The only moment that counts is the last step, which replaces
one document.
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

#: A handover that is not through by then is off, and the live version goes on.
PATIENCE_SECONDS = 30.0
#: So few records are folded in a moment: the rest of the way is gone while the live version stands still.
NEAR = 1_000

#: What readers have to be told, given the handover and where each partition was stopped.
Corrections = Callable[[Handover, Mapping[str, Progress]], Mapping[str, list[Message]]]


class Failed(Exception):
    """The handover did not come about. The version that was live is live."""


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
    """Make ``target`` live. Yields what has been done, step by step; what is not consumed is not done.

    ``corrections`` gives the changes to publish first of all, by place and numbered after the live version's last
    ones, once both versions stand still. Raises Failed. An error cancels the handover as far as the servers let
    it.
    """
    registry = context.registry
    found = settled(registry)
    if found.other != target:
        raise Failed(f"version {target} of {registry.name} is not beside the live one")
    until = registry.now() + timedelta(seconds=patience_seconds)
    # One that another process has begun and left is taken over: it can no longer end.
    announced = found.handing_over(Handover(uuid.uuid4().hex, context.owner, target, until))
    # Opened beforehand, because from now on the service waits.
    reader = context.open_reader()
    try:
        if not registry.replace(found, announced):
            raise Failed("another process is at it; look at `kith rebuild status` and try again")
        yield "announced"
        # From here on no worker gets a claim on the live version; those that there are become void.
        old = VersionStore(context.open_store(found.live), found.live)
        marks: dict[str, Progress] = {}
        stands = registry.positions(found.live)
        for place in sorted(stands):
            _, marks[place] = old.claim(context.series(place), context.owner)
            yield f"stopped {place} at {marks[place].next or 0}"
        # All that it has changed goes out before anything of the other one does.
        yield from _publish_rest(context, old, marks)
        _bring(context, target, {place: mark.next or 0 for place, mark in marks.items()}, until, reader)
        yield f"brought version {target} there"
        assert announced.hand_over is not None
        corrected = corrections(announced.hand_over, marks)
        yield f"found {sum(map(len, corrected.values()))} corrections"
        owners = {place: stand.owner for place, stand in stands.items()}
        yield from _number_on(context, target, marks, owners, corrected)
        if not registry.replace(announced, announced.switched(registry.now())):
            raise Failed(f"the handover took longer than {patience_seconds:.0f} s; version {found.live} goes on")
    except GeneratorExit:
        raise  # what is left undone is for whoever comes next
    except BaseException as error:
        with suppress(Unavailable):  # then it is overdue in a moment
            registry.replace(announced, announced.cancelled())
        if isinstance(error, Superseded | Fenced | Unavailable):
            raise Failed(f"the handover is off, version {found.live} goes on: {error}") from error
        raise
    finally:
        reader.close()
    yield f"version {target} is live"
    with suppress(Unavailable):  # a worker does it, too, with the next event that comes
        yield from _publish_rest(context, VersionStore(context.open_store(target), target), corrected)


def _publish_rest(context: RebuildContext, store: VersionStore, places: Iterable[str]) -> Iterator[str]:
    """Publish what a version still has to tell, in order. Twice does no harm: readers know the numbers."""
    publisher = None
    try:
        for place in places:
            series = context.series(place)
            for batch in store.unpublished(series):
                publisher = publisher or context.open_publisher()
                publisher.send(batch.messages).result()
                store.clear([batch.id])
                yield f"published what was left of {place}"
    finally:
        if publisher is not None:
            publisher.close()


def _bring(
    context: RebuildContext, target: int, marks: Mapping[str, int], until: datetime, reader: Reader
) -> None:
    """Fold up to exactly where the live version was stopped."""

    def done(runner: Runner) -> bool:
        if context.registry.now() > until:
            raise Failed(f"version {target} did not get there in time; the live version goes on")
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
    """The changes of the new version bear the numbers after those of the old one. Its positions name the workers
    that go on with it, though they claim it only when the next event comes."""
    store = VersionStore(context.open_store(target), target)
    for place, mark in marks.items():
        series = context.series(place)
        claim, progress = store.claim(series, owners[place])
        if progress.next != mark.next:
            raise Failed(f"version {target} is at {progress.next} of {place}, not at {mark.next}")
        messages = corrected.get(place, [])
        # Of a handover that failed: nobody has published them, and nobody may.
        store.clear([batch.id for batch in store.unpublished(series)])
        after = replace(progress, emitted=mark.emitted + len(messages))
        if mark.next is not None and (messages or after != progress):
            store.commit(Slice(claim, progress, after, Outcome(messages=messages)))
        yield f"numbered {place} on from {after.emitted}"
