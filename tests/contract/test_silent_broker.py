"""A broker that accepts connections and answers nothing, as a frozen host does: nobody waits for it for ever."""

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from shared.contracts.errors import Unavailable
from shared.kafka.clients import open_publisher
from shared.kafka.topics_admin import ensure_topics
from shared.local.kafka import KafkaServer
from shared.local.processes import free_ports
from shared.runtime.protocols import Message
from shared.settings import Settings
from tests.support.kafka import frozen, wait_published
from tests.support.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    folder = tmp_path_factory.mktemp("silent-broker")
    port, controller_port = free_ports(2)
    server = KafkaServer(folder / "kafka", port, controller_port, folder / "kafka.log")
    server.start()
    yield server
    server.stop()


def settings_of(broker: KafkaServer, client: str, **more: Any) -> Settings:
    """Of topics of their own on this broker, which are there."""
    name = f"silent-{uuid.uuid4().hex[:6]}"
    settings = Settings(kafka=broker.bootstrap, kafka_client=client, topic_prefix=name, partitions=1, **more)
    ensure_topics(settings)
    return settings


@pytest.mark.parametrize("client", ["kafka-python", "librdkafka"])
def test_what_was_sent_beside_a_message_that_fails_fails_too(broker: KafkaServer, client: str) -> None:
    """Also if nothing is sent after it: its sender may do nothing but wait for it."""
    settings = settings_of(broker, client, publish_timeout_ms=2_000)
    one, other = (Message(f"{settings.topic_prefix}.{short}", b"k", b"v") for short in ("relations", "consumers"))
    with closing(open_publisher(settings)) as publisher:
        wait_published(publisher, one, other)
        with frozen(broker):
            first = publisher.send([one])
            # When the first one has had its time, this one has some left. If it comes later, it fails at once.
            time.sleep(1.5)
            second = publisher.send([other])
            assert isinstance(first.exception(PATIENCE_SECONDS), Unavailable)
            assert isinstance(second.exception(PATIENCE_SECONDS), Unavailable)
        wait_published(publisher, one, other)


def test_an_address_at_which_nothing_answers_does_not_use_up_the_time_of_the_others(broker: KafkaServer) -> None:
    settings = settings_of(broker, "kafka-python", publish_timeout_ms=60_000)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = f"127.0.0.1:{silent.getsockname()[1]},{broker.bootstrap}"
        for _ in range(4):  # which one is asked first, is chance
            with closing(open_publisher(settings.model_copy(update={"kafka": addresses}))) as publisher:
                wait_published(publisher, Message(f"{settings.topic_prefix}.relations", b"k", b"v"))
