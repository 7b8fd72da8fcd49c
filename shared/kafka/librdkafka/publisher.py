"""The Publisher on confluent-kafka (librdkafka)."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaException

from shared.contracts.errors import Unavailable
from shared.kafka.librdkafka.delivery import Delivery, Session
from shared.kafka.librdkafka.reader import configuration, partition_counts, reaching_brokers
from shared.kafka.python_client.reader import MAX_MESSAGE_BYTES
from shared.runtime.protocols import Message
from shared.settings import Settings


class LibrdkafkaPublisher:
    """An idempotent publisher that waits for the acknowledgement of all replicas. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        timeout = settings.publish_timeout_ms
        self._patience = timeout / 1000
        self._configuration = {
            **configuration(settings),
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "batch.size": 128 * 1024,
            "compression.type": "lz4",
            # Hashes keys as the Java client and kafka-python do.
            "partitioner": "murmur2_random",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 64 * 1024,
            "delivery.timeout.ms": timeout,
            "socket.timeout.ms": min(timeout // 2, 10_000),
        }
        self._lock = threading.Lock()
        with reaching_brokers():
            self._session = Session(self._configuration)
            try:
                self._topics = partition_counts(self._session.producer)
            except BaseException:
                self._session.close()
                raise

    def send(self, messages: Sequence[Message]) -> Future[None]:
        delivery = Delivery(len(messages))
        try:
            session = self._session_or_new()
            for message in messages:
                if message.topic not in self._topics:
                    self._check_topic(message.topic, session)
                session.produce(message, delivery, self._patience)
        except (KafkaException, Unavailable) as error:
            delivery.fail(error)
        return delivery.future

    def _session_or_new(self) -> Session:
        """The current session. After a fatal error librdkafka's producer is unusable, so a new one replaces it."""
        with self._lock:
            if not self._session.close.alive:
                raise Unavailable("Kafka: the publisher is closed")
            if self._session.broken.is_set():
                self._session.close()
                self._session = Session(self._configuration)
            return self._session

    def _check_topic(self, topic: str, session: Session) -> None:
        # The producer would request the topic by name, and a broker may create a topic that is requested.
        self._topics = partition_counts(session.producer)
        if topic not in self._topics:
            raise Unavailable(f"Kafka has no topic {topic}")

    def close(self) -> None:
        with self._lock:
            self._session.close()
