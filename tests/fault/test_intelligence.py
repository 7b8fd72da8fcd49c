"""Processes of intelligence on real servers: one is killed in the middle of its scan, two side by side give the
same answers as of the same changes, one that has lost changes scans again, and a new event counts at once."""

import os
import signal
import time
from functools import partial
from typing import Any

import httpx
import pytest
from kafka import KafkaAdminClient

from shared.contracts.topics import Topics
from shared.kafka.python_client.reader import open_consumer, partitions_of
from shared.local.processes import Process, replace_taken
from shared.runtime.protocols import Document
from tests.fault.load import Item, event, market_items
from tests.fault.system import System
from tests.support.plain_http import request

EVENTS, SEED = 600, 29


class Asked:
    """A process of intelligence, by its API."""

    def __init__(self, system: System, port: int, **variables: str) -> None:
        self._system, self._url = system, f"http://127.0.0.1:{port}"
        # Fresh: an answer that depends on the order of a set shows between two seeds of hashes.
        self.process: Process = system.start_fresh("intelligence", intelligence_port=str(port), **variables)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return request("GET", f"{self._url}{path}", params=parameters)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid or 0, number)

    def ready(self) -> bool:
        try:
            return self.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def scans(self) -> int:
        [line] = [
            each for each in self.get("/metrics").text.splitlines() if each.startswith("kith_graph_scans_total")
        ]
        return int(float(line.split()[1]))

    def answer(self, consumer_id: str) -> Document:
        found = self.get("/v1/recommendations", consumer_id=consumer_id, limit=20)
        assert found.status_code == 200, found.text
        return dict(found.json())


def same(system: System, consumers: list[str], *asked: Asked) -> None:
    """All give the same answers once they have followed the same changes."""
    found: list[Document] = []

    def alike(consumer: str) -> bool:
        found[:] = [each.answer(consumer) for each in asked]
        return all(each["as_of"] == found[0]["as_of"] for each in found)

    for consumer in consumers:
        system.wait("the same changes in every process", partial(alike, consumer))
        assert all(each == found[0] for each in found), consumer


def lose_the_log(system: System) -> None:
    """Delete every change of relations that Kafka holds."""
    topic = Topics(system.settings.topic_prefix).name("relation-changes")
    consumer = open_consumer(system.settings)
    try:
        ends = consumer.end_offsets(partitions_of(consumer, [topic]))
    finally:
        consumer.close(autocommit=False)
    admin = KafkaAdminClient(bootstrap_servers=system.settings.kafka)
    try:
        admin.delete_records({partition: end for partition, end in ends.items() if end})
    finally:
        admin.close()


def visit(number: int) -> Item:
    data = {"relation_id": f"new-{number}", "kind": "view", "consumer_id": f"new-{number}", "provider_id": "new"}
    return Item(event("relation.recorded", f"new-{number}", data))


@pytest.mark.fast
def test_the_same_answers_after_a_kill_and_after_a_loss(system: System) -> None:
    ports = replace_taken([0, 0, 0])
    system.start_all(relations=1, analytics=1)
    load = system.load(market_items(EVENTS, SEED), rate=2_000)
    # While relations write.
    killed, one, two = (
        Asked(system, port, **fault)
        for port, fault in zip(ports, ({"fault": "during-scan:kill:1"}, {}, {}), strict=True)
    )
    system.wait_killed(killed.process)
    load.finish()
    system.wait_drained()
    system.wait("two graphs", lambda: one.ready() and two.ready())
    consumers = system.database["relationships"].distinct("consumer_id")[:12]
    same(system, consumers, one, two)

    # A new event, from before it is published until it is in an answer.
    began = time.monotonic()
    system.load([visit(1)])
    system.wait("the new event", lambda: one.get("/v1/affinity/new-1/new").json().get("strength"))
    print(f"\na new event counts after {time.monotonic() - began:.2f} s")
    system.wait_drained()
    assert not system.findings()

    # One does not follow for a while, and meanwhile what it has not followed is lost.
    scans = one.scans(), two.scans()
    two.signal(signal.SIGSTOP)
    system.load([visit(number) for number in range(2, 40)])
    system.wait_drained()
    for number in range(2, 40):
        # The other one has followed all of it, and loses nothing.
        visited = f"/v1/affinity/new-{number}/new"
        system.wait("it in the other one", lambda path=visited: one.get(path).json().get("strength"))  # type: ignore[misc]
    lose_the_log(system)
    two.signal(signal.SIGCONT)
    system.wait("another scan", lambda: two.ready() and two.scans() > scans[1])
    same(system, [*consumers, "new-39"], one, two)
    assert one.scans() == scans[0]
    assert two.get("/v1/affinity/new-39/new").json()["strength"] > 0
