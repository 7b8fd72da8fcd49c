"""A client that cannot be opened leaves nothing behind."""

import threading
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.watch import KafkaProbe
from shared.local.processes import free_ports
from shared.settings import Settings


def threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("kafka-io")}


@pytest.fixture
def nowhere() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.mark.parametrize("kind", [KafkaConsumer, KafkaAdminClient])
def test_no_thread_is_left_where_no_broker_answers(kind: Any, nowhere: str) -> None:
    before = threads()
    with pytest.raises(KafkaError):
        opened(kind, bootstrap_servers=nowhere, bootstrap_timeout_ms=200)
    assert threads() <= before


def test_nor_by_whoever_asks_again_and_again(nowhere: str) -> None:
    before, probe = threads(), KafkaProbe(Settings(kafka=nowhere))
    for _ in range(2):
        assert probe.problems(["t"]) == ["the Kafka brokers cannot be reached"]
    assert threads() <= before
    probe.close()
