"""The librdkafka adapter without a broker: settings, and word of messages that nobody takes."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.clients import open_publisher, open_reader
from shared.kafka.librdkafka import delivery as librdkafka_delivery
from shared.kafka.librdkafka.delivery import Delivery, Session
from shared.kafka.librdkafka.publisher import LibrdkafkaPublisher
from shared.kafka.librdkafka.reader import configuration
from shared.local.processes import free_ports
from shared.runtime.protocols import Message
from shared.settings import Settings
from tests.support.waiting import PATIENCE_SECONDS

MESSAGE = Message("topic", b"k", b"v")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librdkafka_delivery, "_CLOSE_SECONDS", 0.1)


def nowhere(**options: Any) -> dict[str, Any]:
    """A producer's configuration whose broker is not there."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    return {**configuration(Settings(kafka=address)), "enable.idempotence": True, **options}


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session(nowhere(**{"delivery.timeout.ms": 200, "linger.ms": 5}))
    yield session
    session.close()


def test_a_message_that_nobody_takes_is_heard_of_unasked(session: Session) -> None:
    delivery = Delivery(1)
    session.produce(MESSAGE, delivery, 1.0)
    assert isinstance(delivery.future.exception(PATIENCE_SECONDS), Unavailable)


def test_closing_tells_what_was_not_published() -> None:
    session = Session(nowhere())
    deliveries = [Delivery(1) for _ in range(3)]
    for delivery in deliveries:
        session.produce(MESSAGE, delivery, 1.0)
    session.close()
    assert all(isinstance(delivery.future.exception(0), Unavailable) for delivery in deliveries)


def test_a_full_queue_is_waited_for_within_bounds() -> None:
    session = Session(nowhere(**{"queue.buffering.max.messages": 10}))
    delivery = Delivery(11)
    for _ in range(10):
        session.produce(MESSAGE, delivery, 0.0)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="full"):
        session.produce(MESSAGE, delivery, 0.3)
    assert 0.3 <= time.monotonic() - started < PATIENCE_SECONDS
    session.close()


def test_a_queue_that_has_room_again_takes_more() -> None:
    session = Session(nowhere(**{"queue.buffering.max.messages": 10, "delivery.timeout.ms": 200, "linger.ms": 5}))
    delivery = Delivery(20)
    for _ in range(20):  # there is room once the first ten have timed out
        session.produce(MESSAGE, delivery, PATIENCE_SECONDS)
    session.close()


def test_one_failure_fails_the_whole_once() -> None:
    delivery = Delivery(2)
    delivery.fail(Unavailable("first"))
    delivery.fail(Unavailable("second"))
    delivery.arrived(None, None)  # type: ignore[arg-type]  # which message does not matter
    with pytest.raises(Unavailable, match="first"):
        delivery.future.result(0)


def test_brokers_that_are_not_there_are_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kafka.librdkafka.reader.ANSWER_SECONDS", 0.2)
    settings = Settings(kafka=f"127.0.0.1:{free_ports(1)[0]}", kafka_client="librdkafka")
    with pytest.raises(Unavailable, match="Kafka"):
        open_publisher(settings)
    with pytest.raises(Unavailable, match="Kafka"):
        open_reader(settings, "service", ["topic"])


def test_settings_that_librdkafka_refuses_are_a_wrong_configuration() -> None:
    settings = Settings(
        kafka="127.0.0.1:1",
        kafka_client="librdkafka",
        kafka_security_protocol="SSL",
        kafka_ca_file="/nowhere/ca.pem",
    )
    with pytest.raises(ConfigurationError, match=r"ssl\.ca\.location"):
        open_publisher(settings)


def test_security_settings_are_handed_on() -> None:
    settings = Settings(
        kafka="a:1,b:2",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-512",
        kafka_username="ann",
        kafka_password=SecretStr("secret"),
        kafka_ca_file="ca.pem",
        kafka_cert_file="cert.pem",
        kafka_key_file="key.pem",
    )
    assert (
        configuration(settings).items()
        >= {
            "bootstrap.servers": "a:1,b:2",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "ann",
            "sasl.password": "secret",
            "ssl.ca.location": "ca.pem",
            "ssl.certificate.location": "cert.pem",
            "ssl.key.location": "key.pem",
        }.items()
    )
    with pytest.raises(ConfigurationError, match="KITH_KAFKA"):
        configuration(Settings(kafka=None))


def test_without_confluent_kafka_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shared.kafka.librdkafka.publisher")
    monkeypatch.delattr("shared.kafka.librdkafka.publisher")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigurationError, match="extra librdkafka"):
        open_publisher(Settings(kafka="127.0.0.1:1", kafka_client="librdkafka"))


def test_a_closed_publisher_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kafka.librdkafka.publisher.partition_counts", lambda _: {"topic": 1})
    publisher = LibrdkafkaPublisher(Settings(kafka=f"127.0.0.1:{free_ports(1)[0]}"))
    publisher.close()
    assert isinstance(publisher.send([MESSAGE]).exception(0), Unavailable)


def test_a_producer_that_has_failed_for_good_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.kafka.librdkafka.publisher.partition_counts", lambda _: {"topic": 1})
    publisher = LibrdkafkaPublisher(Settings(kafka=f"127.0.0.1:{free_ports(1)[0]}", publish_timeout_ms=200))
    broken = publisher._session
    lost = publisher.send([MESSAGE])
    broken.broken.set()
    sent = publisher.send([MESSAGE])
    assert publisher._session is not broken
    assert isinstance(lost.exception(PATIENCE_SECONDS), Unavailable)
    assert isinstance(sent.exception(PATIENCE_SECONDS), Unavailable)
    publisher.close()
