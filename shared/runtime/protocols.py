"""What the runner needs of Kafka, of MongoDB and of a projection. Implemented by ``kafka_io``, ``mongo_io``
and ``memory``, which one contract suite holds to the same behaviour. Pure."""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

Document = dict[str, Any]
Headers = tuple[tuple[str, bytes], ...]


class Partition(NamedTuple):
    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Record(NamedTuple):
    """One message as it lies in the log. ``timestamp`` in milliseconds since 1970, set by producer or broker."""

    partition: Partition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Message(NamedTuple):
    """One message to publish. Without ``partition`` the key decides (murmur2, as Java's clients do). Messages
    with a ``partition`` are numbered by the runner, so that readers notice repeats and gaps."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Headers = ()


class Publisher(Protocol):
    def send(self, messages: Sequence[Message]) -> Future[None]:
        """Publish in order. The future is done when every replica has all of them, or holds Unavailable
        when some may be missing. An error that trying again cannot mend is raised as it is."""

    def close(self) -> None: ...


class Polled(NamedTuple):
    """What a poll found. A partition in both sets went away and came back: ``revoked`` comes first."""

    revoked: frozenset[Partition]
    assigned: frozenset[Partition]
    records: Mapping[Partition, Sequence[Record]]


class Reader(Protocol):
    """A member of a Kafka group. A newly assigned partition stays paused until ``start``."""

    def poll(self, timeout_ms: int) -> Polled: ...

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        """Read on from ``offset`` (None: from the log's beginning). Returns the log's first offset and the
        one it starts at. Raises ConfigurationError when the log does not reach there, because events would
        be skipped or read again, and Unavailable."""

    def pause(self, partitions: Iterable[Partition]) -> None: ...

    def resume(self, partitions: Iterable[Partition]) -> None: ...

    def end(self, partition: Partition) -> int | None:
        """The end of the log as of the last fetch; None when there was none. Asks nobody."""

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """Tell Kafka the positions, for tools that show lag. Never waits, never fails."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Get:
    """A projection asks for documents by id: collection → ids."""

    ids: Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class GetMinMax:
    """A projection asks, per filter, for ``field`` of the documents of ``collection`` that match it, leaving out
    the ids in ``excluding``: all in order where there are at most ``most``, else the lowest and highest.
    """

    collection: str
    field: str
    filters: Sequence[Mapping[str, Any]]
    excluding: Collection[str]
    most: int = 1


@dataclass(frozen=True, slots=True)
class GetByPrefix:
    """A projection asks, per prefix, for the documents of ``collection`` whose ids begin with it: the lowest ids,
    ``most`` at most."""

    collection: str
    prefixes: Sequence[str]
    most: int


@dataclass(frozen=True, slots=True)
class GetKeys:
    """A projection asks for the data keys of consumers: tenant → consumer ids. Answered by the vault, which makes
    those that are missing (``shared.vault.key_requests``)."""

    of: Mapping[str, Collection[str]]


Ask = Get | GetMinMax | GetByPrefix | GetKeys
#: To Get: collection → id → document, absent ones left out. To Extremes: a list of values per filter.
#: To Beginning: a list of documents per prefix, by ascending id. To Keys: (tenant, consumer id) → key, or that it
#: is destroyed.
Answer = Any


@dataclass(slots=True)
class Write:
    """A document's change. ``before`` None inserts, ``after`` None deletes, both replace. The store refuses
    (Stale) when the document it finds is not ``before``, judged by the guard field of its collection.
    A ``blind`` write sets the fields of ``after`` whatever is there, and leaves others as they are."""

    collection: str
    id: str
    before: Document | None
    after: Document | None
    blind: bool = False


@dataclass(slots=True)
class Outcome:
    """What a projection makes of a slice: document changes, and messages to publish after the commit."""

    writes: list[Write] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


E_co = TypeVar("E_co", covariant=True)


class Projection(Protocol[E_co]):
    """Pure: events and old documents in, new documents and messages out."""

    name: str
    version: int
    topics: tuple[str, ...]
    #: Whether its topics hold Kith's own numbered messages. In anyone else's, headers of those names say nothing.
    numbered: bool

    def weight(self, record: Record) -> int:
        """How many events of a slice a record counts as: 1, or more where it moves many documents. Asked of every
        record before it is decoded."""

    def decode(self, record: Record) -> E_co:
        """The event in a record. Raises InvalidEvent: the record becomes a dead letter."""

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        """Fold the events of one slice of one partition, in order. Yields what it must read first."""


@runtime_checkable
class RedactsDeadLetters(Protocol):
    """A projection whose dead letters must not show what they hold."""

    def conceal(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records as their dead letters show them, one for one. Yields what it must read first."""


@runtime_checkable
class Deduplicating(Protocol):
    """A projection that knows events which it has stored by their bytes. Its topics are not ``numbered``."""

    def recall(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records without those that are certainly stored already: what is left is decoded. Yields what it
        must read first; of that, ``project`` is answered without another look."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a projection has come with a partition; stored with every slice, in the same transaction.

    ``next`` is the offset to read on from, None when nothing has been stored yet. ``emitted`` numbers the
    changes that it has published, ``seen`` is the highest number it has read of each origin.
    """

    next: int | None = None
    emitted: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a partition's documents, until someone claims it anew."""

    position: str
    epoch: int


class OutboxBatch(NamedTuple):
    """An outbox document: messages whose slice is stored but which may not be published yet."""

    id: str
    messages: tuple[Message, ...]


@dataclass(slots=True)
class Slice:
    """All that one transaction stores: the progress ``before`` → ``after`` of a claimed partition."""

    claim: Claim
    before: Progress
    after: Progress
    outcome: Outcome
    #: Outbox documents that have been published since, deleted in the same breath.
    published: Sequence[str] = ()


class Store(Protocol):
    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        """Raise the position's epoch: every older claim of it is void from now on."""

    def unpublished(self, position: str) -> list[OutboxBatch]:
        """The position's outbox, oldest first."""

    def read(self, ask: Ask) -> Answer: ...

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        """Store a slice in one transaction; returns its outbox, to be published. Raises Fenced when the claim
        is void, Stale when a document is not what was read, Unavailable when the servers are unavailable; in all
        three nothing is stored."""

    def clear(self, unpublished: Sequence[str]) -> None:
        """Delete published outbox documents."""


Policy = Literal["lru", "lfu", "ttl", "off"]
