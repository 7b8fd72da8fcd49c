"""What a runner reports about its work, for metrics, traces and logs. Pure."""

from collections.abc import Sequence
from typing import Protocol

from shared.runtime.protocols import Headers, Outcome, Partition, Record


class Observer(Protocol):
    """Receives the progress of one runner, always on its thread. A partition has at most one slice in progress.

    An implementation must not raise, block, or do work per event.
    """

    def received(self, partition: Partition, count: int) -> None:
        """``count`` records have been fetched."""

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:
        """A slice is about to be folded. Returns headers for the messages that it produces."""

    def folded(self, partition: Partition, outcome: Outcome) -> None:
        """The current slice is folded: ``outcome`` will be stored."""

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:
        """The current slice is stored: its records and their outcome."""

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None:
        """A step (claim, fold, commit or publish) failed for now: Unavailable, Stale or Fenced. What the current
        slice, if any, has not stored is folded again."""


class NullObserver:
    """Ignores everything."""

    def received(self, partition: Partition, count: int) -> None: ...

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:  # noqa: ARG002
        return ()

    def folded(self, partition: Partition, outcome: Outcome) -> None: ...

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None: ...

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None: ...


class CompositeObserver:
    """Forwards each call to several observers, in order."""

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
