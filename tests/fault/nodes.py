"""The servers of a system, one or three of each: which one leads, and one that is cut off from all others."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, overload

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from shared.contracts.errors import Unavailable
from shared.local.clusters import KafkaCluster, MongoCluster
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer

Kafka = KafkaServer | KafkaCluster
Mongo = MongoServer | MongoCluster
Node = KafkaServer | MongoServer


@overload
def nodes_of(server: Kafka) -> Sequence[KafkaServer]: ...
@overload
def nodes_of(server: Mongo) -> Sequence[MongoServer]: ...
def nodes_of(server: Kafka | Mongo) -> Sequence[Node]:
    return server.nodes if isinstance(server, KafkaCluster | MongoCluster) else [server]


@contextmanager
def direct(node: MongoServer) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of this member alone, primary or not."""
    uri = node.uri_for(None, directConnection="true")
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=2_000, appname="fault-tests") as client:
        yield client


def primary(mongo: Mongo) -> MongoServer:
    """The member that is primary. Raises Unavailable while there is none."""
    for node in nodes_of(mongo):
        try:
            with direct(node) as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return node
        except PyMongoError:
            continue
    raise Unavailable("MongoDB: no member is primary")


def leader(kafka: Kafka, topic: str, partition: int = 0) -> KafkaServer:
    """The broker that leads a partition. Raises Unavailable while none does."""
    nodes = nodes_of(kafka)
    try:
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap.split(","))) as admin:
            [found] = admin.describe_topics([topic])
    except KafkaError as error:
        raise Unavailable(f"Kafka: {error}") from error
    led = {each["partition_index"]: each["leader_id"] for each in found["partitions"]}
    for node in nodes:
        if node.node == led[partition]:
            return node
    raise Unavailable(f"Kafka: nobody leads {topic}/{partition}")


def freeze(node: Node) -> None:
    """SIGSTOP: nobody hears of the server any more, as behind a cut network."""
    os.kill(node.process.pid or 0, signal.SIGSTOP)


def thaw(node: Node) -> None:
    """It goes on where it was: it still believes that it leads, and answers what lies in its sockets."""
    os.kill(node.process.pid or 0, signal.SIGCONT)
