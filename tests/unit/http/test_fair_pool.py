"""Blocking work in turns: what one tenant has waiting delays no other one."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import ContextVar

import pytest

from shared.contracts.limits import Most, Owner
from shared.http.fair_pool import FairPool
from shared.http.server import Refusal

A1, A2, B1, C1 = Owner("a", "1"), Owner("a", "2"), Owner("b", "1"), Owner("c", "1")
PATIENCE = 60


class Gate:
    """Work that blocks until it is let go, and notes in which order it began."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.began: list[str] = []

    def blocked(self, name: str) -> str:
        self.began.append(name)
        assert self.go_on.wait(PATIENCE)
        return name

    def free(self, name: str) -> str:
        self.began.append(name)
        return name


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.go_on.set()


def test_another_tenant_is_answered_while_one_has_all_that_it_may_blocked(gate: Gate) -> None:
    pool = FairPool("test", 4, Most(50, 100, 200))
    flood = [pool.submit(A1, gate.blocked, f"a{number}") for number in range(50)]
    assert pool.submit(B1, gate.free, "b").result(PATIENCE) == "b"
    assert len([name for name in gate.began if name.startswith("a")]) <= pool.per_tenant
    assert not any(each.done() for each in flood)
    gate.go_on.set()
    assert [each.result(PATIENCE) for each in flood] == [f"a{number}" for number in range(50)]


def test_tenants_take_turns_and_so_do_the_credentials_of_one(gate: Gate) -> None:
    pool = FairPool("test", 1, Most(10, 20, 40))
    first = pool.submit(C1, gate.blocked, "first")
    waiting = [pool.submit(A1, gate.free, f"a1-{number}") for number in range(3)]
    waiting += [pool.submit(A2, gate.free, f"a2-{number}") for number in range(2)]
    waiting += [pool.submit(B1, gate.free, f"b{number}") for number in range(2)]
    gate.go_on.set()
    for each in [first, *waiting]:
        each.result(PATIENCE)
    assert gate.began == ["first", "a1-0", "b0", "a2-0", "b1", "a1-1", "a2-1", "a1-2"]


def test_what_waits_is_bounded_and_the_one_who_has_too_much_waiting_is_the_one_refused(gate: Gate) -> None:
    pool = FairPool("test", 2, Most(2, 3, 4), what="measures waiting")
    running: list[Future[str]] = [pool.submit(A1, gate.blocked, "running")]
    running += [pool.submit(A1, gate.free, "waits") for _ in range(2)]
    with pytest.raises(Refusal, match="this credential already has 2 measures waiting") as refused:
        pool.submit(A1, gate.free, "too much")
    assert (refused.value.status_code, refused.value.headers) == (429, {"Retry-After": "1"})
    running.append(pool.submit(A2, gate.free, "waits"))
    with pytest.raises(Refusal, match="this tenant"):
        pool.submit(A2, gate.free, "too much")
    assert pool.submit(B1, gate.free, "b").result(PATIENCE) == "b"
    gate.go_on.set()
    for each in running:
        each.result(PATIENCE)
    assert "too much" not in gate.began


def test_what_is_cancelled_while_it_waits_never_begins_and_leaves_its_place(gate: Gate) -> None:
    pool = FairPool("test", 1, Most(1, 1, 1))

    async def story() -> None:
        running = asyncio.create_task(pool.run(A1, gate.blocked, "running"))
        while not gate.began:
            await asyncio.sleep(0.001)
        for _ in range(3):
            waiting = asyncio.create_task(pool.run(A1, gate.free, "cancelled"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        last = asyncio.create_task(pool.run(A1, gate.free, "last"))
        await asyncio.sleep(0)
        gate.go_on.set()
        assert [await running, await last] == ["running", "last"]

    asyncio.run(story())
    assert gate.began == ["running", "last"]


def test_errors_and_context_arrive(gate: Gate) -> None:
    pool, variable = FairPool("test", 1, Most(1, 1, 1)), ContextVar[str]("variable")

    async def story() -> str:
        variable.set("here")
        with pytest.raises(ZeroDivisionError):
            await pool.run(A1, lambda: 1 / 0)
        return await pool.run(A1, variable.get)

    assert asyncio.run(story()) == "here"
    assert gate.began == []


def test_without_credentials_there_is_one_who_may_have_all_threads(gate: Gate) -> None:
    pool, anyone = FairPool("test", 2, Most(1, 1, 3)), Owner("default", "open", False)
    blocked = [pool.submit(anyone, gate.blocked, "x") for _ in range(2)]
    while len(gate.began) < 2:
        threading.Event().wait(0.001)
    gate.go_on.set()
    for each in blocked:
        each.result(PATIENCE)


def test_a_closed_pool_says_so() -> None:
    pool = FairPool("test", 1, Most(1, 1, 1))
    pool.close()
    with pytest.raises(RuntimeError):
        pool.submit(A1, print).result(PATIENCE)
    with pytest.raises(RuntimeError):
        pool.submit(A1, print).result(PATIENCE)
