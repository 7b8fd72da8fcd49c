"""What a runner tells about its work, for metrics, traces and logs. Pure."""

from collections.abc import Sequence
from typing import Protocol

from shared.runtime.protocols import Headers, Outcome, Partition, Record


class Observer(Protocol):
    """Told of one runner's slices, all from its thread; at most one slice of a partition is under way.

    Nothing here may raise, wait, or cost something for every event.
    """

    def received(self, partition: Partition, count: int) -> None:
        """So many records have been fetched."""

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:
        """A slice is about to be folded. Returns headers for the messages that come of it."""

    def folded(self, partition: Partition, outcome: Outcome) -> None:
        """The slice under way is folded: this is what will be stored."""

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:
        """The slice under way is stored: these records, and what came of them."""

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None:
        """A step (claim, fold, commit or publish) has failed for now: Unavailable, Stale or Fenced. What has
        not been stored of the slice under way, if there is one, begins again."""


class NullObserver:
    """Takes no notice."""

    def received(self, partition: Partition, count: int) -> None: ...

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:  # noqa: ARG002
        return ()

    def folded(self, partition: Partition, outcome: Outcome) -> None: ...

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None: ...

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None: ...


class CompositeObserver:
    """Passes on to each of several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def received(self, partition: Partition, count: int) -> None:
        for observer in self._observers:
            observer.received(partition, count)

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:
        headers: Headers = ()
        for observer in self._observers:
            headers += observer.begun(partition, records)
        return headers

    def folded(self, partition: Partition, outcome: Outcome) -> None:
        for observer in self._observers:
            observer.folded(partition, outcome)

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:
        for observer in self._observers:
            observer.committed(partition, records, outcome)

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None:
        for observer in self._observers:
            observer.interrupted(partition, step, error)
