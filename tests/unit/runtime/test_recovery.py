"""The log names an outage's end once for each server, and each rebalance in one line."""

import logging

import pytest

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Partition
from tests.support.builders import TOPICS, MemoryKith
from tests.support.runner import PatientPublisher, steps, take_over, views


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if part in record.getMessage()]


def test_the_end_of_an_outage_is_said_once_and_not_for_each_partition(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kith = MemoryKith(partitions=3)
    kith.publish(views(8))
    kith.drain()
    kith.store.available = False
    kith.publish(views(30)[8:])
    steps(kith, 20)
    assert lines(caplog, "waiting for a server")
    assert not lines(caplog, "answers again")
    kith.store.available = True
    kith.drain()
    steps(kith, 5)
    [said] = lines(caplog, "answers again")
    assert said.startswith("MongoDB answers again after ")


def test_a_server_that_takes_nothing_yet_does_not_answer_again(caplog: pytest.LogCaptureFixture) -> None:
    """What is stored meanwhile says nothing of Kafka, nor what is published of MongoDB."""
    caplog.set_level(logging.INFO)
    kith = MemoryKith(partitions=1)
    publisher = PatientPublisher(kith.log)
    kith.publisher = publisher
    take_over(kith)
    kith.publish(views(30))
    steps(kith, 4)
    # Nobody acknowledges the first batch; the same is sent again while more is stored.
    publisher.waiting.popleft()[0].set_exception(Unavailable("no broker acknowledged"))
    steps(kith, 1)
    assert lines(caplog, "waiting for a server: no broker acknowledged")
    stored = len(kith.store.outbox)
    kith.publish(views(36)[30:])
    steps(kith, 3)
    assert publisher.waiting
    assert not lines(caplog, "answers again")
    assert len(kith.store.outbox) >= stored
    # Then MongoDB is away, too, while what was sent arrives.
    kith.store.available = False
    steps(kith, 2)
    publisher.answer()
    steps(kith, 2)
    assert [line.split(" after ")[0] for line in lines(caplog, "answers again")] == ["Kafka answers again"]
    kith.store.available = True
    for _ in range(60):
        steps(kith, 1)
        while publisher.waiting:
            publisher.answer()
    assert [line.split(" after ")[0] for line in lines(caplog, "answers again")] == [
        "Kafka answers again",
        "MongoDB answers again",
    ]


def test_an_outage_that_others_take_over_has_no_end_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kith = MemoryKith()
    kith.store.available = False
    kith.publish(views(8))
    steps(kith, 5)
    held = list(kith.runner.partitions)
    kith.reader.revoke(held)
    steps(kith, 2)
    assert not lines(caplog, "answers again")
    [lost] = [line for line in lines(caplog, "rebalance") if "gained none" in line]
    assert lost.endswith("; 0 in hand")


def test_a_rebalance_is_one_line_with_what_came_and_went(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kith = MemoryKith()
    steps(kith, 1)
    names = " ".join(f"{TOPICS.name(short)}/0,1" for short in sorted(("consumers", "providers", "relations")))
    assert lines(caplog, "rebalance") == [f"rebalance: gained {names}; lost none; 6 in hand"]
    place = Partition(TOPICS.name("relations"), 1)
    kith.reader.revoke([place])
    steps(kith, 1)
    assert lines(caplog, "rebalance")[1:] == [f"rebalance: gained none; lost {place}; 5 in hand"]
    # What is revoked and assigned again at once has not moved.
    other = [Partition(TOPICS.name("relations"), 0)]
    kith.reader.revoke(other)
    kith.reader.assign(other)
    steps(kith, 1)
    assert len(lines(caplog, "rebalance")) == 2
