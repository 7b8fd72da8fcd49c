"""Threads that ask Cassandra at once, while nobody is connected yet."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cassandra.cluster import NoHostAvailable

from shared.cassandra import store
from shared.cassandra.address import parse
from shared.cassandra.store import CassandraTables
from shared.runtime import lazy
from tests.support.counted import Counted
from tests.support.waiting import PATIENCE_SECONDS

ADDRESS = parse("cassandra://127.0.0.1:9042/kith?datacenter=datacenter1")
THREADS = 5


class Cluster:
    def shutdown(self) -> None:
        pass


def ask(tables: CassandraTables, meanwhile: Callable[[], None]) -> list[object]:
    """What each thread gets of one attempt. ``meanwhile`` runs once one connects and all others wait for it."""
    with ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(tables._connected) for _ in range(THREADS)]
        for _ in range(THREADS - 1):
            assert Counted.waiting.acquire(timeout=PATIENCE_SECONDS)
        meanwhile()
        return [each.exception() or each.result() for each in asked]


def test_an_attempt_is_made_once_for_all_who_wait_and_holds_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    plan: list[Exception | None] = [NoHostAvailable("none", {"a": OSError()}), None]
    go = threading.Semaphore(0)

    def connect(_: object) -> tuple[Any, Any]:
        assert go.acquire(timeout=PATIENCE_SECONDS)
        if (error := plan.pop(0)) is not None:
            raise error
        return Cluster(), object()

    monkeypatch.setattr(store, "connect", connect)
    monkeypatch.setattr(lazy, "Future", Counted)
    tables = CassandraTables(ADDRESS)

    def meanwhile() -> None:
        tables.close()  # which needs the lock
        go.release()

    assert {type(each) for each in ask(tables, meanwhile)} == {NoHostAvailable}
    sessions = ask(tables, go.release)
    assert len({id(each) for each in sessions}) == 1
    assert tables._connected() is sessions[0]
    assert plan == []
