"""How long kafka-python's fetches may wait at a broker: long while nothing comes, and no longer than that."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, Protocol

import pytest
from kafka.consumer.fetcher import Fetcher

from shared.kafka.clients import open_publisher, open_reader
from shared.kafka.python_client import pace
from shared.kafka.python_client.all_partitions import AllPartitionsReader
from shared.kafka.python_client.following import KafkaFollowing
from shared.kafka.python_client.pace import IDLE_MS
from shared.kafka.python_client.watch import KafkaTail
from shared.runtime.protocols import Message, Polled
from shared.settings import Settings
from tests.support.kafka import wait_published
from tests.support.waiting import Deadline


class Polling(Protocol):
    def poll(self, timeout_ms: int) -> Any: ...

    def close(self) -> None: ...


def grouped(settings: Settings, topic: str) -> Polling:
    python = settings.model_copy(update={"kafka_client": "kafka-python"})
    return open_reader(python, f"pace-{uuid.uuid4().hex[:6]}", [topic])


OPENED: dict[str, Callable[[Settings, str], Polling]] = {
    "in a group": grouped,
    "all partitions": lambda settings, topic: AllPartitionsReader(settings, [topic]),
    "following": lambda settings, topic: KafkaFollowing(settings, [topic]),
    "tail": lambda settings, topic: KafkaTail(settings, [topic]),
}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each fetch of this process asks for, in milliseconds."""
    asked: list[int] = []
    plain = Fetcher._create_fetch_requests

    def recorded(self: Any) -> Any:
        requests = plain(self)
        asked.extend(request.max_wait_ms for request, _ in requests.values())
        return requests

    monkeypatch.setattr(Fetcher, "_create_fetch_requests", recorded)
    monkeypatch.setattr(pace, "_LINGER_SECONDS", 0.0)
    return asked


@pytest.mark.parametrize("how", OPENED)
def test_quiet_topics_are_asked_for_seldom_and_busy_ones_often(
    real_settings: Settings, waits: list[int], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    topic = f"{real_settings.topic_prefix}.relations"
    with ExitStack() as exit:
        publisher = exit.enter_context(closing(open_publisher(real_settings)))
        reader = exit.enter_context(closing(OPENED[how](real_settings, topic)))
        came: list[object] = []

        def poll_until(what: str, done: Callable[[], bool]) -> None:
            deadline = Deadline()
            while not done():
                deadline.check(what)
                polled = reader.poll(50)
                if isinstance(polled, Polled):
                    for partition in polled.assigned:
                        reader.start(partition, None)  # type: ignore[attr-defined]
                    polled = [record for batch in polled.records.values() for record in batch]
                came.extend(polled)

        poll_until("a long wait", lambda: IDLE_MS in waits[-1:])
        monkeypatch.setattr(pace, "_LINGER_SECONDS", 3600.0)
        messages = [Message(topic, b"k", b"%d" % n, n % 2) for n in range(20)]
        for _ in range(2):
            before = len(came)
            wait_published(publisher, *messages)
            poll_until("the records", lambda least=before + 20: len(came) >= least)  # type: ignore[misc]
        poll_until("a short wait", lambda: waits[-1] < IDLE_MS)
