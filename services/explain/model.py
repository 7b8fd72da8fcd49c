"""What `kith explain` tells of an event, as data: the same for a terminal and for programs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from shared.runtime.protocols import Document

#: What became of one occurrence of an event in the log:
#: applied      documents changed
#: duplicate    the same event lies there before
#: outdated     a later version of all that it says was stored before it
#: outranked    another event of the same version (time, sequence, source, id) but other content counts
#: equal        nothing that it says is new
#: suppressed   the consumer had been erased
#: dead_letter  it could not be accepted
Outcome = Literal["applied", "duplicate", "outdated", "outranked", "equal", "suppressed", "dead_letter"]

#: What an event has to say in what is stored now: all it said, a part of it, or nothing any more.
Standing = Literal["counts", "partly", "superseded", "erased", "no_effect", "dead_letter", "waiting"]


@dataclass(frozen=True, slots=True)
class Reference:
    """Another event, and where it lies in the log (None where it was not met there)."""

    source: str
    id: str
    time: datetime | None = None
    sequence: str | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """A field of a profile and the event that stated it last. ``removed``: with null, so that it has no value."""

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
    """A document before and after an event. ``before`` None: it came into being; ``after`` None: it went."""

    collection: str
    id: str
    before: Document | None
    after: Document | None
    fields: list[Field]


@dataclass(frozen=True)
class Publication:
    """A message of the change topic. ``number`` is its place among all changes of its origin."""

    topic: str
    partition: int
    offset: int
    number: int | None


@dataclass
class Change:
    """A change that an event makes. ``published`` is where it lies: more than one place after a crash, of which
    readers count the first; none before it is published. ``counted`` says whether analytics has stored it,
    None where it was not looked for."""

    id: str
    topic: str
    partition: int
    value: Any
    published: list[Publication] = field(default_factory=list)
    counted: bool | None = None
    letter: Document | None = None


@dataclass(frozen=True)
class AggregateMove:
    """By how much a change moves the aggregate of a partition, a key and a day: ``sums`` (count, amount,
    rating_count, rating_sum, consumers), of them ``hours`` by hour in UTC. ``day_total`` is what all partitions
    have stored for that day now."""

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
    """One place of the event in the log, and what became of it there.

    ``processed`` is false while the relations service has not come so far: it is ``behind`` by so many messages
    (this one included), and outcome and documents are what they will be. ``because`` names the events that
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
    """One event, named by tenant, source and id. ``stored`` are the documents that it touched, as they are now;
    ``exact`` says whether they equal the fold of what the log holds (None where that could not be compared)."""

    tenant: str | None
    source: str | None
    id: str
    type: str | None
    time: datetime | None
    #: As it is compared: an Integer has leading zeros.
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
    #: Of a profile, which event each field comes from. Among them are fields that have been removed.
    fields: list["Origin"] = field(default_factory=list)
    exact: bool | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """Everything that was found under an id: usually one event, several when sources or tenants share it."""

    id: str
    found: bool
    summary: str
    events: list[Explanation]
    #: Messages read, topics read, seconds it took, and the bounds in time.
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
