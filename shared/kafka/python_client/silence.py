"""Keeps kafka-python from waiting long for a broker that is silent: one that accepts connections and answers
nothing, as a frozen host does, or one behind a cut network.

Refers to kafka-python 3.0.12. It waits 10 to 30 s for a new connection to such a broker, spends the whole time of
its start on it if it happens to ask it first, and prefers it for metadata, because nothing is in flight to it.
Each of these waits is longer than a publication may take, and other brokers would answer at once.
"""

import random
import time
from typing import Any

from kafka import TopicPartition
from kafka.cluster import ClusterMetadata
from kafka.errors import KafkaConnectionError, KafkaTimeoutError
from kafka.net.manager import KafkaConnectionManager

#: For a connection with all its handshakes: at first, and after some failures.
_SETUP_MS, _LONGEST_SETUP_MS = 3_000, 10_000
#: A request that has waited so long is not sent another one after it. A broker answers fetches within 0.5 s.
_SILENT_SECONDS = 2.0
#: For an answer on such a connection. A join waits longer, for the other members.
REQUEST_TIMEOUT_MS = 10_000

_get_connection = KafkaConnectionManager.get_connection
_update_metadata = ClusterMetadata.update_metadata


def avoid_silent_brokers() -> None:
    """Make kafka-python do so in this process, with clients opened from now on. Idempotent."""
    manager: Any = KafkaConnectionManager
    manager.DEFAULT_CONFIG = {
        **manager.DEFAULT_CONFIG,
        "socket_connection_setup_timeout_ms": _SETUP_MS,
        "socket_connection_setup_timeout_max_ms": _LONGEST_SETUP_MS,
    }
    manager.least_loaded_node = _least_loaded_node
    manager.get_connection = _get_connection_in_time
    cluster: Any = ClusterMetadata
    cluster.bootstrap_brokers = _bootstrap_brokers
    cluster.update_metadata = _update_and_disconnect


def ends_in_time(consumer: Any, tp: TopicPartition, seconds: float) -> tuple[int, int]:
    """The first offset in a log, and the one after the last. Raises KafkaTimeoutError after so long, and
    KafkaError."""
    deadline = time.monotonic() + seconds
    try:
        first = consumer.beginning_offsets([tp], timeout_ms=seconds * 1000)[tp]
        left = max(0.0, deadline - time.monotonic())
        end = consumer.end_offsets([tp], timeout_ms=left * 1000)[tp]
    except KafkaTimeoutError:
        # Another broker may lead it by now. kafka-python would ask for that only when its request fails.
        consumer._cluster.request_update()
        raise
    return first, end


def _least_loaded_node(self: Any) -> Any:
    """A broker that will probably answer; None if none may be asked now. As in Java's client, connected ones come
    first."""
    now = time.monotonic()
    brokers = list(self.cluster.brokers())
    random.shuffle(brokers)
    best: tuple[tuple[bool, int, bool, int], Any] | None = None
    for broker in brokers:
        connection = self._conns.get(broker.node_id)
        if (connection is not None and connection.paused) or self.connection_delay(broker.node_id) > 0:
            continue
        waiting = list(connection.in_flight_requests) if connection is not None else []
        rank = (
            any(now - sent > _SILENT_SECONDS for _, _, sent, *_ in waiting),
            _failures(self, broker),
            not (connection is not None and connection.connected) and not _was_reached(self, broker),
            len(waiting),
        )
        if best is None or rank < best[0]:
            best = rank, broker.node_id
    return None if best is None else best[1]


def _failures(manager: Any, broker: Any) -> int:
    """How many connections to the broker have failed since the last success, under any of its names."""
    names = [broker.node_id, *(each.node_id for each in _same_address(manager, broker))]
    most: int = max(manager._backoff.get(name, (0,))[0] for name in names)
    return most


def _was_reached(manager: Any, broker: Any) -> bool:
    """Whether the client has found the others by this one. That connection is closed, but it was answered."""
    return any(each.node_id == getattr(manager, "_asked_first", None) for each in _same_address(manager, broker))


def _same_address(manager: Any, broker: Any) -> list[Any]:
    return [
        each
        for each in manager.cluster._bootstrap_brokers.values()
        if (each.host, each.port) == (broker.host, broker.port)
    ]


def _bootstrap_brokers(self: Any) -> list[Any]:
    """Returns those of the given addresses that have failed the least often. One of them is asked next."""
    found = list(self._bootstrap_brokers.values())
    backoff = {} if self._manager is None else self._manager._backoff
    failures = [backoff.get(broker.node_id, (0,))[0] for broker in found]
    return [broker for broker, failed in zip(found, failures, strict=True) if failed == min(failures)]


def _get_connection_in_time(self: Any, node_id: Any, timeout_ms: float | None = None, **options: Any) -> Any:
    """At the start, each of the given addresses has its share of the time that is left."""
    if self.cluster.is_bootstrap(node_id):
        self._asked_first = node_id
        if timeout_ms is not None:
            share = timeout_ms / len(self.cluster.bootstrap_brokers())
            timeout_ms = min(share, self.socket_connection_setup_timeout_ms(node_id))
    return _get_connection(self, node_id, timeout_ms, **options)


def _update_and_disconnect(self: Any, metadata: Any) -> None:
    """End what waits for a broker that the others no longer count among them. A join would wait for minutes."""
    _update_metadata(self, metadata)
    if not metadata.brokers or self._manager is None:
        return
    there = {str(broker.node_id) for broker in self.brokers()}
    for node_id, connection in list(self._manager._conns.items()):
        if not self.is_bootstrap(node_id) and str(node_id).removeprefix("coordinator-") not in there:
            connection.close(KafkaConnectionError(f"broker {node_id} has left the cluster"))
