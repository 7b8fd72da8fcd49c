"""The publish rate of a bare client: one JSON line, ``{"rate": …}`` in messages per second.

The producer of either library with the settings of Kith's publisher. The first argument is the duration in
seconds, the second the client. The clock stops when every message is acknowledged.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle

from services.bench.events import REDELIVERED, BenchEvent, generate


def main() -> None:
    seconds, client = float(sys.argv[1]), sys.argv[2]
    events = list(generate(20_000, REDELIVERED))
    send, flush = _librdkafka() if client == "librdkafka" else _kafka_python()
    for event in events[:1000]:
        send(event)
    flush()
    start = time.monotonic()
    count = 0
    for event in _until(start + seconds, cycle(events)):
        send(event)
        count += 1
    flush()
    print(json.dumps({"rate": count / (time.monotonic() - start)}))


def _until(end: float, events: Iterator[BenchEvent]) -> Iterator[BenchEvent]:
    for number, event in enumerate(events):
        if number % 100 == 0 and time.monotonic() > end:
            return
        yield event


def _kafka_python() -> tuple[Callable[[BenchEvent], object], Callable[[], object]]:
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=os.environ["BENCH_KAFKA"],
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        batch_size=128 * 1024,
        compression_type="lz4",
        metrics_enabled=False,
    )
    topic = os.environ["BENCH_TOPIC"]
    return lambda event: producer.send(topic, event.value, event.key), producer.flush


def _librdkafka() -> tuple[Callable[[BenchEvent], object], Callable[[], object]]:
    from confluent_kafka import Producer

    producer = Producer(
        {
            "bootstrap.servers": os.environ["BENCH_KAFKA"],
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "batch.size": 128 * 1024,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
        }
    )
    topic = os.environ["BENCH_TOPIC"]

    def send(event: BenchEvent) -> None:
        while True:
            try:
                producer.produce(topic, event.value, event.key)
                return
            except BufferError:
                producer.poll(0.01)

    return send, producer.flush


if __name__ == "__main__":
    main()
