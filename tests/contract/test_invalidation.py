"""The query cache and the change topics of real Kafka: a change drops what it is about, idle times included."""

import time
from collections.abc import Iterator
from contextlib import closing

import orjson
import pytest

from services.relations.cache import QueryCache
from services.relations.invalidation import Invalidation
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.runtime.protocols import Message, Publisher
from shared.settings import Settings
from tests.support.waiting import PATIENCE_SECONDS, wait_for

SUBJECT = ("consumers", "default", "c1")


class Clock:
    """Entries never die of age before this one is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self.clock = Clock()
        self.cache = QueryCache("lru", 10, self.clock)
        self.topic = Topics(settings.topic_prefix).name("consumer-changes")
        self._publisher = publisher
        self.loads = 0

    def ask(self) -> int:
        def load() -> int:
            self.loads += 1
            return self.loads

        answer: int = self.cache.get("answer", [SUBJECT], load)
        return answer

    def change(self) -> None:
        value = {"type": "consumer.changed", "tenant": "default", "data": {"consumer_id": "c1"}}
        self._publisher.send([Message(self.topic, b"default:c1", orjson.dumps(value))]).result(PATIENCE_SECONDS)


@pytest.fixture
def world(real_settings: Settings) -> Iterator[World]:
    with closing(open_publisher(real_settings)) as publisher:
        world = World(real_settings, publisher)
        invalidation = Invalidation(real_settings, world.cache)
        invalidation.start()
        try:
            yield world
        finally:
            invalidation.stop()


def settled(world: World) -> int:
    """An answer that stays: the first ones are dropped when the tail begins to follow."""
    since, answer = time.monotonic(), world.ask()
    while time.monotonic() - since < 1.5:
        time.sleep(0.02)
        if (now := world.ask()) != answer:
            since, answer = time.monotonic(), now
    return answer


def test_a_change_drops_the_answers_about_it(world: World) -> None:
    answer = settled(world)
    world.change()
    wait_for("another answer", lambda: world.ask() > answer)


def test_so_does_one_after_a_time_in_which_nobody_asked(world: World) -> None:
    settled(world)
    world.clock.now += 60
    world.change()
    time.sleep(0.5)
    answer = settled(world)
    world.change()
    wait_for("another answer", lambda: world.ask() > answer)
