"""Invalidates the query cache: at once for this process's writes, from the change topics for those of others."""

import logging
import threading
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import orjson

from services.relations.cache import QueryCache
from shared.contracts.errors import Unavailable
from shared.contracts.topics import CHANGES, Topics
from shared.kafka.python_client.watch import KafkaTail
from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Outcome, Partition, Record, Write
from shared.settings import Settings

log = logging.getLogger(__name__)

_GLANCE_SECONDS = 0.02


class Invalidation:
    """Follows every partition of the change topics in a thread, from their present end, and only while there are
    queries: otherwise it would cost an eighth of a busy worker's time for nothing."""

    def __init__(self, settings: Settings, cache: QueryCache) -> None:
        topics = Topics(settings.topic_prefix)
        self._settings = settings
        self._topics = [topics.name(short) for short in CHANGES.values()]
        self._cache = cache
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="invalidation")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                tail = KafkaTail(self._settings, self._topics)
            except Unavailable as error:
                # Reads stay correct in the meantime: entries expire within a second.
                log.warning("cache invalidation waits for Kafka: %s", error)
                self._stop.wait(1.0)
                continue
            try:
                while not self._stop.is_set():
                    if self._cache.idle:
                        self._rest(tail)
                    for record in tail.poll(200):
                        self._cache.forget(subjects(record))
            except Unavailable as error:
                log.warning("cache invalidation restarts: %s", error)
            finally:
                tail.close()

    def _rest(self, tail: KafkaTail) -> None:
        while self._cache.idle and not self._stop.wait(_GLANCE_SECONDS):
            pass
        tail.skip()
        # Entries from before the tail reached its present position may have changed unnoticed.
        self._cache.clear()


class OwnWrites(NullObserver):
    """An Observer of this process's runner: its own writes are visible without waiting for a message."""

    def __init__(self, cache: QueryCache) -> None:
        self._cache = cache

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        if not self._cache.idle:
            self._cache.forget(written(outcome.writes))


def written(writes: Sequence[Write]) -> Iterator[Hashable]:
    """The subjects of cached answers that these writes change."""
    for write in writes:
        document = write.after or write.before
        assert document is not None
        tenant = document.get("tenant")
        if write.collection == "relationships":
            consumer_id, provider_id = document["consumer_id"], document["provider_id"]
            yield _subject("consumer_id", tenant, consumer_id)
            yield _subject("provider_id", tenant, provider_id)
            yield _subject("relationship", tenant, consumer_id, provider_id)
        elif write.collection == "consumers":
            yield _subject("consumers", tenant, document["consumer_id"])
        elif write.collection == "providers":
            yield _subject("providers", tenant, document["provider_id"])


def subjects(record: Record) -> Iterator[Hashable]:
    """The subjects of cached answers that a change affects. A record that is no change has none; of a malformed
    change, those that could be read are returned."""
    try:
        change: dict[str, Any] = orjson.loads(record.value or b"null")
        tenant, data, type = change["tenant"], change["data"], change["type"]
        if type == "relation.changed":
            consumer_id = data["consumer_id"]
            yield _subject("consumer_id", tenant, consumer_id)
            for provider_id in {fact["provider_id"] for fact in (data["before"], data["after"]) if fact}:
                yield _subject("provider_id", tenant, provider_id)
                yield _subject("relationship", tenant, consumer_id, provider_id)
        elif type == "consumer.changed":
            yield _subject("consumers", tenant, data["consumer_id"])
        elif type == "provider.changed":
            yield _subject("providers", tenant, data["provider_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        log.debug("not a change: %s/%d", record.partition, record.offset)


def _subject(*parts: Any) -> Hashable:
    # A part without a hash would end the thread that follows the changes.
    if not all(isinstance(part, str) for part in parts):
        raise TypeError("a part of a subject is not a string")
    return parts
