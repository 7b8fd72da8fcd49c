"""The benchmark's own Kafka and MongoDB, the same for all contenders."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.local.processes import replace_taken

PROPERTIES = {
    # Kafka's own default is 3 s. Without any, the first of several members starts alone on all partitions,
    # and the rebalancing for the others would count as their work.
    "group.initial.rebalance.delay.ms": "2000",
}
CACHE_GB = 2.0


@dataclass(frozen=True)
class BenchServers:
    """Two running servers and the folder for logs and other files."""

    kafka: KafkaServer
    mongo: MongoServer
    folder: Path

    @property
    def broker_pids(self) -> list[int]:
        return [] if self.kafka.process.pid is None else [self.kafka.process.pid]

    @property
    def mongod_pids(self) -> list[int]:
        return [] if self.mongo.process.pid is None else [self.mongo.process.pid]


@contextmanager
def running(folder: Path, cache_gb: float = CACHE_GB) -> Iterator[BenchServers]:
    """Both servers with their data in ``folder``, stopped at the end. ``cache_gb`` is the size of mongod's
    cache."""
    log = folder / "log"
    kafka_port, controller_port, mongo_port = replace_taken([0, 0, 0])
    kafka = KafkaServer(folder / "kafka", kafka_port, controller_port, log / "kafka.log", PROPERTIES)
    mongo = MongoServer(folder / "mongo", mongo_port, log / "mongo.log", cache_gb=cache_gb)
    try:
        mongo.launch()
        kafka.launch()
        mongo.wait_ready()
        kafka.wait_ready()
        yield BenchServers(kafka, mongo, folder)
    finally:
        kafka.process.ask_to_stop()
        mongo.stop()
        kafka.stop()
