"""Several Kafka brokers, and a replica set of MongoDB, as processes of this machine: production's shape, small."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from shared.local.kafka import KafkaServer, new_cluster
from shared.local.mongo import MongoServer
from shared.local.processes import replace_taken

SIZE = 3
#: A majority, which has what is acknowledged: one server can be lost.
_IN_SYNC = SIZE // 2 + 1

Node = TypeVar("Node", KafkaServer, MongoServer)


class _Cluster(Generic[Node]):
    """Has the methods of one server, for all of its ``nodes``."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes: list[Node] = list(nodes)

    def start(self) -> None:
        """Start those that do not run, and return when all serve."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        for node in self.nodes:
            if not node.process.running:
                node.launch()

    def wait_ready(self) -> None:
        for node in self.nodes:
            node.wait_ready()

    def stop(self) -> None:
        for node in self.nodes:
            node.process.ask_to_stop()
        for node in self.nodes:
            node.stop()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


class KafkaCluster(_Cluster[KafkaServer]):
    """``SIZE`` brokers, each a controller as well. ``properties`` are every broker's; Kafka's own topics have a
    copy on each."""

    def __init__(
        self, data: Path, log: Path, properties: Mapping[str, str] | None = None, heap: str = "256m"
    ) -> None:
        ports = replace_taken([0] * SIZE * 2)
        voters = dict(enumerate(ports[SIZE:], start=1))
        cluster = new_cluster()
        copies = {
            "offsets.topic.replication.factor": str(SIZE),
            "transaction.state.log.replication.factor": str(SIZE),
            "transaction.state.log.min.isr": str(_IN_SYNC),
            "share.coordinator.state.topic.replication.factor": str(SIZE),
            "share.coordinator.state.topic.min.isr": str(_IN_SYNC),
        }
        super().__init__(
            [
                KafkaServer(
                    data / str(node),
                    port,
                    voters[node],
                    log.with_stem(f"{log.stem}-{node}"),
                    {**copies, **(properties or {})},
                    heap,
                    node=node,
                    voters=voters,
                    cluster=cluster,
                )
                for node, port in enumerate(ports[:SIZE], start=1)
            ]
        )

    @property
    def bootstrap(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes)


class MongoCluster(_Cluster[MongoServer]):
    """A replica set of ``SIZE`` members. ``arguments`` are every mongod's, ``settings`` the replica set's."""

    def __init__(
        self,
        data: Path,
        log: Path,
        arguments: Sequence[str] = (),
        cache_gb: float = 0.25,
        settings: Mapping[str, int] | None = None,
    ) -> None:
        ports = replace_taken([0] * SIZE)
        super().__init__(
            [
                MongoServer(
                    data / str(number),
                    port,
                    log.with_stem(f"{log.stem}-{number}"),
                    arguments,
                    cache_gb,
                    members=ports,
                    settings=settings,
                )
                for number, port in enumerate(ports, start=1)
            ]
        )

    @property
    def uri(self) -> str:
        return self.nodes[0].uri
