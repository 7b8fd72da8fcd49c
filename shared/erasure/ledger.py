"""The ledger of erasures, read from its compacted topic. It overrides the content of any database."""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition

from shared.contracts.errors import InvalidEvent, Unavailable
from shared.contracts.events import document_id
from shared.contracts.topics import LEDGER, Topics
from shared.erasure.records import LedgerEntry, Mode, decode_entry, stronger_mode
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers
from shared.settings import Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0
_RETRY_SECONDS = 1.0
_TROUBLE_SECONDS = 5.0
_STOP_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0

#: By the document id of tenant and consumer.
Entries = dict[str, LedgerEntry]


def read_ledger(settings: Settings) -> Entries:
    """The whole ledger as of now. Raises Unavailable."""
    found: Entries = {}
    topic = _Topic(settings)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not topic.caught_up:
            topic.poll(500, found)
            if time.monotonic() > deadline:
                raise Unavailable("Kafka: the ledger of erasures cannot be read to its end")
    finally:
        topic.close()
    return found


class Ledger:
    """Follows the ledger from its beginning, on its own thread. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: Entries = {}
        self._read = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        # Not joined: the thread may be waiting for an unavailable broker. Nothing is lost with it.
        self._thread.join(_STOP_SECONDS)

    def problems(self) -> list[str]:
        """Why the ledger may be incomplete; empty when it is read."""
        return [] if self._read.is_set() else ["the ledger of erasures has not been read yet"]

    def mode(self, tenant: str, consumer_id: str) -> Mode | None:
        """How the consumer was erased; None if they were not."""
        entry = self._entries.get(document_id(tenant, consumer_id)) if self._entries else None
        return None if entry is None else entry.mode

    def _follow(self) -> None:
        while not self._stop.is_set():
            try:
                topic = _Topic(self._settings)
            except Unavailable as error:
                log.warning("the ledger of erasures waits for Kafka: %s", error)
                self._stop.wait(_RETRY_SECONDS)
                continue
            except Exception:
                self._wait_for_operator()
                continue
            try:
                while not self._stop.is_set():
                    topic.poll(200, self._entries)
                    if topic.caught_up:
                        self._read.set()
            except Unavailable as error:
                log.warning("reading the ledger of erasures again from its beginning: %s", error)
            except Exception:
                self._wait_for_operator()
            finally:
                topic.close()

    def _wait_for_operator(self) -> None:
        """An operator has to act, for example grant a right. Until then it is unknown who is erased."""
        log.exception("the ledger of erasures cannot be read; correct the cause, it is read again")
        self._read.clear()
        self._stop.wait(_TROUBLE_SECONDS)


class _Topic:
    """A consumer of the ledger's topic. Its methods raise Unavailable."""

    def __init__(self, settings: Settings) -> None:
        self._name = Topics(settings.topic_prefix).name(LEDGER)
        self._consumer: Any = open_consumer(
            settings, auto_offset_reset="earliest", max_poll_records=5_000, fetch_max_wait_ms=200
        )
        self._ends: Mapping[TopicPartition, int] = {}
        try:
            self._look()
        except Unavailable:
            self.close()
            raise

    def _look(self) -> None:
        """Assign all partitions. If some are new, read all from the beginning: reading an entry twice is
        harmless."""
        self._looked_at = time.monotonic()
        present = partitions_of(self._consumer, [self._name])
        if not present:
            raise Unavailable(f"Kafka has no topic {self._name}; `kith topics create` makes it")
        if set(present) != self._ends.keys():
            with reaching_brokers():
                self._consumer.assign(present)
                self._consumer.seek_to_beginning(*present)
                self._ends = self._consumer.end_offsets(present)

    def poll(self, timeout_ms: int, entries: Entries) -> None:
        """Add the entries since the last call."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
        with reaching_brokers():
            found = self._consumer.poll(timeout_ms=timeout_ms)
        for batch in found.values():
            for record in batch:
                try:
                    entry = decode_entry(record.value or b"")
                except InvalidEvent as error:
                    log.warning("%s/%d: %s", self._name, record.offset, error)
                    continue
                known = entries.get(entry.document_id)
                mode = stronger_mode(known.mode if known else None, entry.mode)
                entries[entry.document_id] = entry.model_copy(update={"mode": mode})

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the ends at the start has been read."""
        with reaching_brokers():
            return all(self._consumer.position(tp) >= end for tp, end in self._ends.items())

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)
