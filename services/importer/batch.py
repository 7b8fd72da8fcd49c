"""A batch of rows on their way to Kafka: converted, checked, sealed and published, or rejected."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from services.importer.rejects import Rejects
from services.importer.row import BadRow, Row
from services.importer.window import Window
from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event, event_key
from shared.contracts.topics import Topics
from shared.contracts.unseen import check_seen
from shared.runtime.protocols import Message
from shared.vault.fields import first_plaintext_path, first_token_path
from shared.vault.keys import Vault
from shared.vault.sealing import keys_for, sealed


class Tally(Protocol):
    """Counts the rows of one source: ``read == accepted + rejected``."""

    @property
    def source(self) -> str: ...

    read: int
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The arrival time of the events, and how far ahead of it an event may be dated."""

    arrived: datetime
    most_ahead: timedelta


@dataclass(slots=True)
class Batch:
    """A batch of rows of one source, whose keys are read at once."""

    topics: Topics
    clock: Clock
    counts: Tally
    rejected: Rejects
    window: Window
    vault: Vault | None
    waiting: list[tuple[Row, Event]] = field(default_factory=list)

    def take(self, row: Row | BadRow, convert: Callable[[Row], Event]) -> None:
        """Add the event of a row; a row that ``convert`` refuses by InvalidEvent is rejected."""
        self.counts.read += 1
        try:
            if isinstance(row, BadRow):
                raise InvalidEvent(row.reason, row.detail, row.field)
            self.waiting.append((row, self._checked(convert(row))))
        except InvalidEvent as error:
            self._reject(row, error)

    def pass_on(self) -> None:
        """Seal the batch and hand it to the window. Raises Unavailable."""
        waiting, self.waiting = self.waiting, []
        events: list[Event | None] = [event for _, event in waiting]
        if self.vault is not None:
            bare = [n for n, (_, event) in enumerate(waiting) if first_plaintext_path(event) is not None]
            todo = [waiting[n][1] for n in bare]
            for n, event in zip(bare, sealed(todo, keys_for(self.vault, todo)), strict=True):
                events[n] = event
        for (row, _), event in zip(waiting, events, strict=True):
            if event is None:
                erased = InvalidEvent(
                    "suppressed", "is erased; its events are not accepted any more", "data.consumer_id"
                )
                self._reject(row, erased)
            else:
                self.window.add(Message(self.topics.of(event), event_key(event), codec.encode(event)))
                self.counts.accepted += 1

    def _checked(self, event: Event) -> Event:
        codec.check_clock(event, self.clock.arrived, self.clock.most_ahead)
        check_seen(event)
        if (path := first_token_path(event)) is not None:
            raise InvalidEvent("sealed", "has the form of a value that Kith has sealed", f"data.{path}")
        if (size := len(codec.encode(event))) > codec.MAX_EVENT_BYTES:
            raise InvalidEvent("too_large", f"{size} bytes, but an event has at most {codec.MAX_EVENT_BYTES}")
        return event

    def _reject(self, row: Row | BadRow, error: InvalidEvent) -> None:
        self.counts.rejected += 1
        self.rejected.add(self.counts.source, row, error)
