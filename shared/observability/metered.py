"""Measures a Store and a Publisher: each meter has its metrics, and wraps what it measures."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.observability.metrics import SECONDS
from shared.runtime.protocols import Answer, Ask, Claim, Message, OutboxBatch, Progress, Publisher, Slice, Store


class StoreMeter:
    """Measures the duration of each operation of a store, including failed ones."""

    def __init__(self, registry: CollectorRegistry, projection: str) -> None:
        self._projection = projection
        self._seconds = Histogram(
            "kith_store_seconds",
            "An operation on MongoDB: claim, parcels (reads the outbox), read, commit or clear.",
            ["projection", "operation"],
            buckets=SECONDS,
            registry=registry,
        )

    def on(self, store: Store) -> Store:
        return _MeteredStore(store, self)

    @contextmanager
    def timed(self, operation: str) -> Iterator[None]:
        with self._seconds.labels(self._projection, operation).time():
            yield


class _MeteredStore:
    def __init__(self, store: Store, meter: StoreMeter) -> None:
        self._store = store
        self._timed = meter.timed

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        with self._timed("claim"):
            return self._store.claim(position, owner)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        with self._timed("parcels"):
            return self._store.unpublished(position)

    def read(self, ask: Ask) -> Answer:
        with self._timed("read"):
            return self._store.read(ask)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        with self._timed("commit"):
            return self._store.commit(slice)

    def clear(self, unpublished: Sequence[str]) -> None:
        if unpublished:
            with self._timed("clear"):
                self._store.clear(unpublished)


class PublisherMeter:
    """Measures publications until all replicas have acknowledged them, and counts failures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "kith_publish_seconds",
            "From sending a batch of messages until all are acknowledged.",
            buckets=SECONDS,
            registry=registry,
        )
        self.messages = Counter(
            "kith_messages_published", "Messages acknowledged by all replicas.", registry=registry
        )
        self.failures = Counter(
            "kith_publish_failures", "Batches of messages of which some may not be published.", registry=registry
        )

    def on(self, publisher: Publisher) -> Publisher:
        return _MeteredPublisher(publisher, self)


class _MeteredPublisher:
    def __init__(self, publisher: Publisher, meter: PublisherMeter) -> None:
        self._publisher = publisher
        self._meter = meter

    def send(self, messages: Sequence[Message]) -> Future[None]:
        started = time.perf_counter()
        try:
            future = self._publisher.send(messages)
        except BaseException:
            self._meter.failures.inc()
            raise

        def done(future: Future[None]) -> None:
            if future.cancelled() or future.exception() is not None:
                self._meter.failures.inc()
            else:
                self._meter.seconds.observe(time.perf_counter() - started)
                self._meter.messages.inc(len(messages))

        future.add_done_callback(done)
        return future

    def close(self) -> None:
        self._publisher.close()
