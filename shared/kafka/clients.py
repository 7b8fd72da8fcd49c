"""Selects the Kafka client by the setting ``kafka_client``. Only the selected one is imported."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared.contracts.errors import ConfigurationError
from shared.runtime.protocols import Publisher, Reader
from shared.settings import Settings


def open_reader(settings: Settings, service: str, topics: Sequence[str]) -> Reader:
    """A member of the consumer group ``<group>.<service>`` that reads ``topics`` (full names). Raises
    ConfigurationError, and Unavailable while the brokers cannot be reached or a topic is missing."""
    if settings.kafka_client == "librdkafka":
        with _librdkafka():
            from shared.kafka.librdkafka.reader import LibrdkafkaReader
        return LibrdkafkaReader(settings, service, topics)
    from shared.kafka.python_client.reader import KafkaReader

    return KafkaReader(settings, service, topics)


def open_publisher(settings: Settings) -> Publisher:
    """A publisher. Raises ConfigurationError, and Unavailable while the brokers cannot be reached."""
    if settings.kafka_client == "librdkafka":
        with _librdkafka():
            from shared.kafka.librdkafka.publisher import LibrdkafkaPublisher
        return LibrdkafkaPublisher(settings)
    from shared.kafka.python_client.publisher import KafkaPublisher

    return KafkaPublisher(settings)


def open_both(settings: Settings, service: str, topics: Sequence[str]) -> tuple[Reader, Publisher]:
    """A reader and a publisher, or neither: an unused reader would keep its partitions. Raises the errors of
    both."""
    publisher = open_publisher(settings)
    try:
        return open_reader(settings, service, topics), publisher
    except BaseException:
        publisher.close()
        raise


@contextmanager
def _librdkafka() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "confluent_kafka":
            raise
        raise ConfigurationError(
            "KITH_KAFKA_CLIENT is librdkafka, but the package confluent-kafka is not installed: "
            "install Kith's extra librdkafka"
        ) from error
