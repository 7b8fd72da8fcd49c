"""What the runner needs of Kafka, of MongoDB and of a projection. ``shared.kafka``, ``shared.mongo`` and
``shared.testing.memory`` implement it; one contract suite holds them to the same behaviour. Pure."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
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
    """One message of the log. ``timestamp`` is in milliseconds since 1970, set by the producer or the broker."""

    partition: Partition
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Message(NamedTuple):
    """One message to publish. Without ``partition`` the hash of the key selects it (murmur2, as in the Java
    client). The runner numbers messages that have a ``partition``, so that readers detect duplicates and gaps."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Headers = ()


class Publisher(Protocol):
    def send(self, messages: Sequence[Message]) -> Future[None]:
        """Publish in order. The future completes when all replicas have acknowledged all messages. It fails with
        Unavailable when some may be missing, and with the original error when a retry cannot help."""

    def close(self) -> None: ...


class Polled(NamedTuple):
    """The result of a poll. A partition in both sets was revoked first, then assigned again."""

    revoked: frozenset[Partition]
    assigned: frozenset[Partition]
    records: Mapping[Partition, Sequence[Record]]


class Reader(Protocol):
    """A member of a Kafka consumer group. A newly assigned partition stays paused until ``start``."""

    def poll(self, timeout_ms: int) -> Polled: ...

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        """Read from ``offset`` (None: from the beginning of the log). Returns the first offset of the log and the
        offset that reading starts at. Raises ConfigurationError when the log does not contain ``offset``, because
        events would be skipped or read twice, and Unavailable."""

    def pause(self, partitions: Iterable[Partition]) -> None: ...

    def resume(self, partitions: Iterable[Partition]) -> None: ...

    def end(self, partition: Partition) -> int | None:
        """The end of the log as of the last fetch; None before the first. Makes no request."""

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """Commit the positions to Kafka, for tools that show lag. Never blocks, never fails."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Get:
    """Request for documents by id: collection → ids."""

    ids: Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class GetMinMax:
    """Request, per filter, for the values of ``field`` in the documents of ``collection`` that match it, except
    the ids in ``excluding``. The answer has all values in order if there are at most ``most``, otherwise the
    lowest and the highest."""

    collection: str
    field: str
    filters: Sequence[Mapping[str, Any]]
    excluding: Collection[str]
    most: int = 1


@dataclass(frozen=True, slots=True)
class GetByPrefix:
    """Request, per prefix, for the documents of ``collection`` whose ids begin with it: at most ``most``, lowest
    ids first."""

    collection: str
    prefixes: Sequence[str]
    most: int


@dataclass(frozen=True, slots=True)
class GetReduced:
    """Request, per prefix, for what ``step`` makes of the documents of ``collection`` whose ids begin with it, one
    after the other, beginning with ``start()``. However many there are, few are in memory at a time."""

    collection: str
    prefixes: Sequence[str]
    start: Callable[[], Any]
    step: Callable[[Any, Document], Any]


@dataclass(frozen=True, slots=True)
class GetKeys:
    """Request for the data keys of consumers: tenant → consumer ids. The vault answers it, and creates missing
    keys (``shared.vault.key_requests``)."""

    of: Mapping[str, Collection[str]]


@dataclass(frozen=True, slots=True)
class GetCurrent:
    """Request for documents by id (collection → ids) as they are now, with a number of the request: documents of a
    higher number have been read later. ``counted`` is origin → number of a change: those of analytics contain
    these changes. A sink's store answers it (``services.cassandra.store``)."""

    ids: Mapping[str, Collection[str]]
    counted: Mapping[str, int]


Ask = Get | GetMinMax | GetByPrefix | GetReduced | GetKeys | GetCurrent
#: Answer to Get: collection → id → document, without absent ones. To GetMinMax: a list of values per filter. To
#: GetByPrefix: a list of documents per prefix, by ascending id. To GetReduced: a result per prefix. To GetKeys:
#: (tenant, consumer id) → the key, or the mark that it is destroyed. To GetCurrent: the number, and
#: collection → id → document.
Answer = Any


@dataclass(slots=True)
class Write:
    """A change of a document. Without ``before`` it inserts, without ``after`` it deletes, with both it replaces.
    The store raises Stale when the stored document is not ``before``, judged by the guard field of its collection.
    A ``blind`` write sets the fields of ``after`` regardless of what is stored, and leaves other fields
    unchanged."""

    collection: str
    id: str
    before: Document | None
    after: Document | None
    blind: bool = False


@dataclass(slots=True)
class Outcome:
    """The result of folding a slice: document changes, and messages to publish after the commit. ``effects`` are
    what a sink does elsewhere (``shared.sinks``); other stores ignore them."""

    writes: list[Write] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    effects: list[Any] = field(default_factory=list)


E_co = TypeVar("E_co", covariant=True)


class Projection(Protocol[E_co]):
    """Pure: events and old documents in, new documents and messages out."""

    name: str
    version: int
    topics: tuple[str, ...]
    #: Whether its topics hold Kith's own numbered messages. In other topics, headers with those names have no
    #: meaning.
    numbered: bool

    def weight(self, record: Record) -> int:
        """How many events of a slice a record counts as: 1, or more where it changes many documents. Called for
        every record before decoding."""

    def decode(self, record: Record) -> E_co:
        """The event in a record. Raises InvalidEvent; the record then becomes a dead letter."""

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        """Fold the events of one slice of one partition, in order. Yields requests for what it must read."""


@runtime_checkable
class RedactsDeadLetters(Protocol):
    """A projection whose dead letters must not show the content of their records."""

    def conceal(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records as their dead letters show them, one for one. Yields requests for what it must read."""


@runtime_checkable
class Deduplicating(Protocol):
    """A projection that recognises already stored events by their bytes. Its topics are not ``numbered``."""

    def recall(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records, except those that are certainly stored already. Only the returned ones are decoded. Yields
        requests for what it must read; ``project`` gets the same documents without a second read."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a projection has processed a partition. Stored with every slice, in the same transaction.

    ``next`` is the next offset to read, None when nothing has been stored yet. ``emitted`` is the number of the
    last change published, ``seen`` maps each origin to the highest number read.
    """

    next: int | None = None
    emitted: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write a partition's documents, until a later claim fences it."""

    position: str
    epoch: int


class OutboxBatch(NamedTuple):
    """A document of the outbox: messages whose slice is stored but that may not be published yet."""

    id: str
    messages: tuple[Message, ...]


@dataclass(slots=True)
class Slice:
    """All that one transaction stores: the progress ``before`` → ``after`` of a claimed partition."""

    claim: Claim
    before: Progress
    after: Progress
    outcome: Outcome
    #: Outbox documents that have been published since; the transaction deletes them.
    published: Sequence[str] = ()


class Store(Protocol):
    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        """Raise the position's epoch, which fences every older claim of it."""

    def unpublished(self, position: str) -> list[OutboxBatch]:
        """The position's outbox, oldest first."""

    def read(self, ask: Ask) -> Answer: ...

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        """Store a slice in one transaction. Returns its outbox, to be published. Raises Fenced when the claim is
        void, Stale when a document has changed since it was read, and Unavailable. After any of them nothing is
        stored."""

    def clear(self, unpublished: Sequence[str]) -> None:
        """Delete published outbox documents."""


Policy = Literal["lru", "lfu", "ttl", "off"]
