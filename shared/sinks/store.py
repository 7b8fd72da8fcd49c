"""The Store of a sink: effects in the target first, then the position (and dead letters) in the store beneath.

The order makes the effects at-least-once, and the target makes them exact: by whole states, by numbers, by the
claim. A target with transactions stores the progress with the effects. Where that is behind, the system was
restored from a backup, emptied or made anew, and the sink reads the log again from there. Where it is ahead, the
worker died between the two, and the slice is repeated.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from shared.contracts.errors import Stale
from shared.runtime.protocols import Answer, Ask, Claim, OutboxBatch, Outcome, Progress, Slice, Store
from shared.sinks.target import Target
from shared.versions.live import VersionStore

log = logging.getLogger(__name__)


class SinkStore:
    """A Store that applies the effects of each slice to ``target`` before ``store`` commits it.

    A projection of a sink reads documents of relations, which are at least as new as the changes that it has read.
    Of a MongoDB that is no primary any more they may be older; then the commit fails, and the slice is repeated.
    ``live`` returns the version of relations that is live,
    never an older one than has published what was read before the call; without it the plain names are read.
    """

    def __init__(self, store: Store, target: Target[Any], live: Callable[[], int] | None = None) -> None:
        self._store, self._target, self._live = store, target, live

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        claim, stored = self._store.claim(position, owner)
        held = self._target.claimed(claim)
        start = stored
        if held is not None and (held.next or 0) < (stored.next or 0):
            message = "%s: the sink has less than it had taken (up to %s of %s): reading it again"
            log.warning(message, position, held.next or 0, stored.next)
            start = replace(held, emitted=stored.emitted)
        # Fenced if another claim was made meanwhile. Its number in the target might be lower than this one's.
        self._store.commit(Slice(claim, stored, start, Outcome()))
        return claim, start

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._store.unpublished(position)

    def read(self, ask: Ask) -> Answer:
        if self._live is None:
            return self._store.read(ask)
        version = self._live()
        answer = VersionStore(self._store, version).read(ask)
        if self._live() != version:
            # The documents of the old version may have been deleted during the read.
            raise Stale("another version of relations is live since")
        return answer

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        self._target.apply(slice.claim, slice.after, slice.outcome.effects)
        return self._store.commit(slice)

    def clear(self, unpublished: Sequence[str]) -> None:
        self._store.clear(unpublished)
