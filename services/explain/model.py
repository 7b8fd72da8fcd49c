"""The report of `kith explain`, as data: the same for a terminal and for programs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.runtime.protocols import Document

#: The outcome of one occurrence of an event in the log:
#: applied      documents changed
#: duplicate    the log has the same event at a lower offset
#: outdated     a later version of everything that it states was stored before it
#: outranked    another event of the same version (time, sequence, source, id) but other content counts
#: equal        it states nothing new
#: suppressed   the consumer had been erased
#: dead_letter  it was rejected
Outcome = Literal["applied", "duplicate", "outdated", "outranked", "equal", "suppressed", "dead_letter"]

#: How much of an event counts in the stored documents now: everything, a part, or nothing any more.
Standing = Literal["counts", "partly", "superseded", "erased", "no_effect", "dead_letter", "waiting"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Another event and its place in the log (None if it was not found there)."""

    source: str
    id: str
    time: datetime | None = None
    sequence: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """A field of a profile and the event that stated it last. ``removed``: that event removed it, with null."""

    field: str
    removed: bool
    event: Reference


@dataclass(frozen=True)
class Field:
    """A field that differs, by its path with dots. None: absent."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class DocumentMove:
    """A document before and after an event. ``before`` None: the event created it; ``after`` None: deleted it."""

    collection: str
    id: str
    before: Document | None
    after: Document | None
    fields: list[Field]


@dataclass(frozen=True)
class Publication:
    """A message of the change topic. ``number`` is its sequence number among all changes of its origin."""

    topic: str
    partition: int
    offset: int
    number: int | None


@dataclass
class Change:
    """A change that an event makes. ``published`` holds its places: several after a crash, of which consumers
    count the first; none before it is published. ``counted``: whether analytics has stored it, None if not
    checked."""

    id: str
    topic: str
    partition: int
    value: Any
    published: list[Publication] = field(default_factory=list)
    counted: bool | None = None
    letter: Document | None = None


@dataclass(frozen=True)
class AggregateMove:
    """The difference that a change makes in the aggregate of a partition, a key and a day: ``sums`` (count,
    amount, rating_count, rating_sum, consumers), and the same by hour in UTC (``hours``). ``day_total`` is the
    present sum of that day over all partitions."""

    id: str
    by: str
    key: str
    day: str
    partition: int
    sums: Document
    hours: dict[str, Document]
    day_total: Document | None = None


@dataclass
class Occurrence:
    """One place of the event in the log, and its outcome there.

    ``processed`` is false while the relations service has not reached it: then it is ``behind`` by that many
    messages (this one included), and outcome and documents are a forecast. ``because`` names the events that
    explain an outcome other than applied.
    """

    topic: str
    partition: int
    offset: int
    arrived: datetime
    outcome: Outcome
    reason: str
    processed: bool
    behind: int
    replay_of: str | None = None
    because: list[Reference] = field(default_factory=list)
    letter: Document | None = None
    documents: list[DocumentMove] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    aggregates: list[AggregateMove] = field(default_factory=list)


@dataclass
class Explanation:
    """One event, named by tenant, source and id. ``stored`` are its documents as they are now. ``exact``: whether
    they equal a fold of the log (None if they could not be compared)."""

    tenant: str | None
    source: str | None
    id: str
    type: str | None
    time: datetime | None
    #: In the form in which sequences are compared: an Integer has leading zeros.
    sequence: str | None
    consumer_id: str | None
    provider_id: str | None
    relation_id: str | None
    door: str
    standing: Standing
    summary: str
    superseded_by: list[Reference]
    occurrences: list[Occurrence]
    stored: dict[str, dict[str, Document | None]] = field(default_factory=dict)
    #: For a profile: the event that each field comes from, removed fields included.
    fields: list["Origin"] = field(default_factory=list)
    exact: bool | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """Everything found under an id: usually one event, several if sources or tenants share it."""

    id: str
    found: bool
    summary: str
    events: list[Explanation]
    #: The messages read, the topics read, the duration in seconds, and the bounds in time.
    read: dict[str, Any]


def differences(before: Document | None, after: Document | None) -> list[Field]:
    """Field by field, in the order of the fields; nested documents by path, lists as a whole."""
    return list(_differences("", before or {}, after or {}))


def _differences(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Field]:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        here = f"{path}{name}"
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            old_map, new_map = old if isinstance(old, Mapping) else {}, new if isinstance(new, Mapping) else {}
            yield from _differences(f"{here}.", old_map, new_map)
        elif old != new or type(old) is not type(new):
            yield Field(here, old, new)
