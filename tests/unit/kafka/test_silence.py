"""Which broker kafka-python asks, and for which it does not wait any longer."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, UnknownMemberIdError

from shared.kafka.python_client import silence
from shared.kafka.python_client.joining import _join

NOW = time.monotonic()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands still, as a busy machine does not."""
    monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: NOW))


class Connection:
    """What is asked of a connection of kafka-python."""

    def __init__(self, *waiting: float, connected: bool = True, paused: bool = False) -> None:
        """``waiting``: for how many seconds each request waits for its answer."""
        self.connected, self.paused = connected, paused
        self.in_flight_requests = [(1, None, NOW - seconds, 0.0, None) for seconds in waiting]
        self.closed: list[Exception] = []

    def close(self, error: Exception) -> None:
        self.closed.append(error)


def broker(number: Any) -> SimpleNamespace:
    port = int(str(number).removeprefix("bootstrap-"))
    return SimpleNamespace(node_id=number, host="there", port=port)


class Manager:
    """What is asked of kafka-python's manager of connections, in a cluster of three."""

    def __init__(self, connections: dict[Any, Connection], failures: dict[Any, int] | None = None) -> None:
        self._conns = connections
        self._backoff = {node: (count, 0.0, 0.0) for node, count in (failures or {}).items()}
        given = {f"bootstrap-{number}": broker(f"bootstrap-{number}") for number in (1, 2, 3)}
        self.cluster = SimpleNamespace(_bootstrap_brokers=given, brokers=lambda: [broker(n) for n in (1, 2, 3)])
        self.delayed: set[Any] = set()

    def connection_delay(self, node: Any) -> float:
        return 1.0 if node in self.delayed else 0.0


def asked(manager: Manager) -> set[Any]:
    """All that may be asked: among equals chance decides."""
    return {silence._least_loaded_node(manager) for _ in range(200)}


def test_a_broker_that_lets_a_request_wait_is_not_asked_while_others_answer() -> None:
    assert asked(Manager({1: Connection(5.0), 2: Connection(0.1), 3: Connection(0.1)})) == {2, 3}
    assert asked(Manager({1: Connection(5.0), 2: Connection(5.0), 3: Connection(5.0)})) == {1, 2, 3}


def test_one_without_a_connection_is_asked_after_those_that_are_busy() -> None:
    assert asked(Manager({1: Connection(0.1, 0.1), 2: Connection(0.1)})) == {2}
    assert asked(Manager({1: Connection(connected=False)})) == {1, 2, 3}


def test_one_that_could_not_be_connected_to_comes_last_under_each_of_its_names() -> None:
    assert asked(Manager({}, {1: 2})) == {2, 3}
    assert asked(Manager({}, {"bootstrap-1": 1, 2: 1})) == {3}


def test_the_one_that_named_the_others_is_asked_first() -> None:
    manager = Manager({})
    manager._asked_first = "bootstrap-2"  # type: ignore[attr-defined]
    assert asked(manager) == {2}


def test_one_that_is_paused_or_has_just_failed_is_not_asked_at_all() -> None:
    manager = Manager({1: Connection(paused=True), 2: Connection()})
    manager.delayed = {2, 3}
    assert asked(manager) == {None}


def test_of_the_given_addresses_those_that_failed_least_are_tried() -> None:
    manager = Manager({}, {"bootstrap-1": 2, "bootstrap-3": 1})
    cluster = SimpleNamespace(_bootstrap_brokers=manager.cluster._bootstrap_brokers, _manager=manager)
    assert [each.node_id for each in silence._bootstrap_brokers(cluster)] == ["bootstrap-2"]
    manager._backoff["bootstrap-2"] = (1, 0.0, 0.0)
    assert [each.node_id for each in silence._bootstrap_brokers(cluster)] == ["bootstrap-2", "bootstrap-3"]


def test_what_waits_for_a_broker_that_has_left_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_update_metadata", lambda *_: None)
    connections = {name: Connection(9.0) for name in (1, 4, "coordinator-2", "coordinator-4", "bootstrap-0")}
    cluster = SimpleNamespace(
        _manager=Manager(connections),
        brokers=lambda: [broker(number) for number in (1, 2, 3)],
        is_bootstrap=lambda node: str(node).startswith("bootstrap"),
    )
    silence._update_and_disconnect(cluster, SimpleNamespace(brokers=["any"]))
    assert {name for name, each in connections.items() if each.closed} == {4, "coordinator-4"}
    for each in connections.values():
        each.closed.clear()
    silence._update_and_disconnect(cluster, SimpleNamespace(brokers=[]))
    assert not any(each.closed for each in connections.values()), "an answer without brokers says nothing"


@pytest.mark.parametrize(
    ("error", "dead"), [(KafkaConnectionError("gone"), True), (UnknownMemberIdError("who?"), False)]
)
def test_who_leads_the_group_is_asked_again_when_the_connection_to_it_fails(error: Exception, dead: bool) -> None:
    found: list[Exception] = []

    async def join() -> bytes:
        raise error

    with pytest.raises(type(error)):
        asyncio.run(_join(SimpleNamespace(coordinator_dead=found.append), join)())
    assert found == ([error] if dead else [])
