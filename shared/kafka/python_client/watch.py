"""Clients on kafka-python outside any consumer group: readiness checks, and followers of topics."""

import threading
import time
from collections.abc import Iterable, Sequence

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from shared.contracts.errors import Unavailable
from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.pace import Pace
from shared.kafka.python_client.reader import connection, open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

_LOOK_SECONDS = 30.0


class KafkaProbe:
    """Checks whether the brokers can be reached, for readiness checks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdminClient | None = None
        self._lock = threading.Lock()

    def problems(self, topics: Iterable[str]) -> list[str]:
        """Why these topics cannot be published to now; empty when they can."""
        with self._lock:
            try:
                with reaching_brokers():
                    if self._admin is None:
                        self._admin = opened(
                            KafkaAdminClient,
                            **connection(self._settings),
                            request_timeout_ms=2_000,
                            bootstrap_timeout_ms=2_000,
                        )
                    missing = set(topics) - set(self._admin.list_topics())
            except Unavailable:
                self._forget()
                return ["the Kafka brokers cannot be reached"]
        return [f"Kafka has no topic {name}; `kith topics create` makes it" for name in sorted(missing)]

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None


class KafkaTail:
    """Reads records published from now on, in all partitions of ``topics``, outside any consumer group."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self._consumer = open_consumer(settings, auto_offset_reset="latest", fetch_max_wait_ms=100)
        self._pace = Pace(self._consumer)
        self._topics = list(topics)
        self._looked_at = 0.0
        self._assigned: set[TopicPartition] = set()

    def poll(self, timeout_ms: int) -> list[Record]:
        """The records since the last call. Raises Unavailable."""
        with reaching_brokers():
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._look()
            found = self._consumer.poll(timeout_ms=timeout_ms)
            self._pace.polled(found)
        return [record_of(Partition(tp.topic, tp.partition), r) for tp, batch in found.items() for r in batch]

    def skip(self) -> None:
        """Skip the records since the last call. Raises Unavailable."""
        with reaching_brokers():
            self._look()
            for tp, offset in self._consumer.end_offsets(list(self._assigned)).items():
                self._consumer.seek(tp, offset)

    def _look(self) -> None:
        """Assign added partitions, to be read from their beginning. The initial ones are read from their end."""
        self._looked_at = time.monotonic()
        present = set(partitions_of(self._consumer, self._topics))
        if new := present - self._assigned:
            known = {tp: self._consumer.position(tp) for tp in self._assigned}
            self._consumer.assign(list(present))
            starts = (
                self._consumer.beginning_offsets(list(new)) if known else self._consumer.end_offsets(list(new))
            )
            for tp, offset in {**known, **starts}.items():
                self._consumer.seek(tp, offset)
            self._assigned = present

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)
