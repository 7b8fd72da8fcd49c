"""The bridge from RabbitMQ beside aio-pika alone, which takes and acknowledges the same messages."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiormq

from services.bench.door import service
from services.bench.events import FRESH, generate
from services.bench.measure import RunFailed, check, check_library
from services.bench.procfs import cpu_microseconds, peak_megabytes, tree
from services.bench.ratios import Ratio, ratio
from services.bench.servers import BenchServers
from services.bench.topics import PARTITIONS
from services.rabbitmq.client import connect
from services.rabbitmq.protocols import Outgoing, Properties
from services.rabbitmq.schema import COLLECTIONS
from services.rabbitmq.topology import topology
from shared.contracts.topics import Topics
from shared.kafka.python_client.reader import open_consumer, partitions_of
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from shared.local.rabbitmq import RabbitServer, server
from shared.mongo.store import connect as mongo
from shared.mongo.store import prepare
from shared.settings import Settings

PREFIX, QUEUE = "rabbitmq", "events"
#: The bridge's own.
PREFETCH = Settings.model_fields["rabbitmq_prefetch"].default
MESSAGES = 20_000
LEAST_RATE, LEAST_OF_PEER = 5_000.0, 0.8
#: aio-pika by the number of messages that one acknowledgement is for: its guide's, and its best.
PEERS = {"aio-pika": 1, "aio-pika, 250 acknowledged at once": 250}
_TICK_SECONDS, _LIMIT_SECONDS = 0.05, 240.0
_LOT = 1_000  # that RabbitMQ has to confirm within the client's patience


def measure_rabbitmq(
    servers: BenchServers,
    kafka_clients: Sequence[str],
    repetitions: int,
    messages: int,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[Ratio]]:
    """A row per contender and repetition, in turn, and the ratios. Each takes ``messages`` events of 300 bytes out
    of a full quorum queue of the bridge's arguments. Raises RunFailed, ConfigurationError, ProcessFailed."""
    settings = Settings(
        kafka=servers.kafka.bootstrap, mongo=servers.mongo.uri, topic_prefix=PREFIX, partitions=PARTITIONS
    )
    ensure_topics(settings)
    with mongo(servers.mongo.uri) as client:
        prepare(client[PREFIX], COLLECTIONS)
    rows = []
    with server(servers.folder / "rabbitmq", servers.folder / "log" / "rabbitmq.log") as rabbit:
        bench = _Bench(servers, rabbit, settings, [event.value for event in generate(messages, FRESH)])
        for repetition in range(1, repetitions + 1):
            for name, start in bench.contenders(kafka_clients).items():
                row = bench.measured(name, start)
                say(f"{repetition} {name}: {row['rate']:,.0f} messages/s")
                rows.append({"contender": name, "repetition": repetition, **row})
    return rows, rabbitmq_ratios(rows)


def rabbitmq_ratios(rows: Sequence[dict[str, Any]]) -> list[Ratio]:
    """Each bridge over aio-pika in the same repetition, and over the rate that it is to reach."""
    rates = {(row["contender"], row["repetition"]): row["rate"] for row in rows}
    found = []
    for name in dict.fromkeys(name for name, _ in rates if name not in PEERS):
        own = {repetition: rate for (of, repetition), rate in rates.items() if of == name}
        for peer in PEERS:
            pairs = [rate / rates[peer, each] for each, rate in own.items() if (peer, each) in rates]
            found.append(ratio(f"{name} / {peer}", QUEUE, pairs, LEAST_OF_PEER))
        reached = [rate / LEAST_RATE for rate in own.values()]
        found.append(ratio(f"{name} / {LEAST_RATE:,.0f} a second", QUEUE, reached, 1.0))
    return found


class _Sample(NamedTuple):
    """Messages that wait in the queue at a time (seconds), and the CPU spent until then (µs)."""

    at: float
    waiting: int
    client: int
    rabbitmq: int
    broker: int


@dataclass
class _Bench:
    servers: BenchServers
    rabbit: RabbitServer
    settings: Settings
    bodies: Sequence[bytes]

    def contenders(self, kafka_clients: Sequence[str]) -> dict[str, Callable[[], Process]]:
        peers = {name: partial(self._peer, lot) for name, lot in PEERS.items()}
        return {**peers, **{f"Kith, {client}": partial(self._bridge, client) for client in kafka_clients}}

    def measured(self, name: str, start: Callable[[], Process]) -> dict[str, Any]:
        asyncio.run(self._fill())
        before = self._published()
        with ExitStack() as stop:
            process = start()
            stop.callback(process.stop)
            process.start()
            first, last = asyncio.run(self._drained(process))
            check_library("librdkafka" if "librdkafka" in name else None, [process])
            memory = peak_megabytes(tree([process.pid or 0]))
            if name not in PEERS:
                self._wait_published(process, before + len(self.bodies))
        taken = first.waiting - last.waiting
        return {
            "rate": round(taken / (last.at - first.at), 1),
            "own_us": round((last.client - first.client) / taken),
            "rabbitmq_us": round((last.rabbitmq - first.rabbitmq) / taken),
            "broker_us": round((last.broker - first.broker) / taken),
            "memory_mb": round(memory),
        }

    async def _fill(self) -> None:
        """A new queue, and all messages in it."""
        connection = await aiormq.connect(self.rabbit.uri)
        await (await connection.channel()).queue_delete(QUEUE)
        await connection.close()
        link = await connect(self.rabbit.uri)
        try:
            await link.declare(topology([QUEUE], None))
            properties = Properties("application/cloudevents+json")
            sending = [Outgoing(QUEUE, body, properties) for body in self.bodies]
            for start in range(0, len(sending), _LOT):
                await link.publish("fill", "", sending[start : start + _LOT])
        finally:
            await link.close()

    async def _drained(self, process: Process) -> tuple[_Sample, _Sample]:
        """The first sample with more taken than the prefetch, and that of the empty queue. RabbitMQ's own count is
        the measure of all contenders."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        connection = await aiormq.connect(self.rabbit.uri)
        channel = await connection.channel()
        try:
            first = None
            while True:
                answer = await channel.queue_declare(QUEUE, passive=True)
                waiting = answer.message_count or 0
                if first is None and waiting < len(self.bodies) - PREFETCH:
                    first = self._sample(process, waiting)
                if waiting == 0:
                    last = self._sample(process, 0)
                    break
                check([process], deadline, "did not take all messages")
                await asyncio.sleep(_TICK_SECONDS)
            if first is None or first.waiting == 0:
                raise RunFailed("all messages were taken before the first sample: use more of them (--sizes)")
            return first, last
        finally:
            await connection.close()

    def _sample(self, process: Process, waiting: int) -> _Sample:
        return _Sample(
            time.monotonic(),
            waiting,
            cpu_microseconds(tree([process.pid or 0])),
            cpu_microseconds(tree([self.rabbit.process.pid or 0])),
            cpu_microseconds(self.servers.broker_pids),
        )

    def _peer(self, lot: int) -> Process:
        environment = {**os.environ, "BENCH_AMQP": self.rabbit.uri, "BENCH_QUEUE": QUEUE}
        argv = [sys.executable, "-m", "services.bench.peers.aio_pika_consumer", str(PREFETCH), str(lot)]
        return Process("aio-pika", argv, self._log(), environment, grace=2.0)

    def _bridge(self, client: str) -> Process:
        settings = {
            "KITH_TOPIC_PREFIX": PREFIX,
            "KITH_DATABASE": PREFIX,
            "KITH_AMQP": self.rabbit.uri,
            "KITH_RABBITMQ_QUEUES": json.dumps({QUEUE: "default"}),
            "KITH_RABBITMQ_PREFETCH": str(PREFETCH),
            "KITH_RABBITMQ_OUT": "off",
        }
        return service("services.rabbitmq", self.servers, "KITH_RABBITMQ_PORT", client, **settings)[0]

    def _log(self) -> Path:
        return self.servers.folder / "log" / f"aio-pika-{time.monotonic_ns()}.log"

    def _wait_published(self, process: Process, wanted: int) -> None:
        """Raises RunFailed: an event that is not in Kafka was not taken."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while (found := self._published()) < wanted:
            check([process], deadline, f"published {found} events of {wanted}")
            time.sleep(_TICK_SECONDS)

    def _published(self) -> int:
        consumer = open_consumer(self.settings)
        try:
            ends: dict[Any, int] = consumer.end_offsets(
                partitions_of(consumer, [Topics(PREFIX).name("relations")])
            )
            return sum(ends.values())
        finally:
            consumer.close(autocommit=False)
