"""Shares of the processor: of several tenants that want it, who has used more than its share waits."""

import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from shared.contracts.limits import Most, Owner
from shared.http.contention import Contention
from shared.http.fair_pool import FairPool
from shared.http.processor import ACTIVE_SECONDS, BURST_SECONDS, MOST_SECONDS, Processor

A, B, C = Owner("a", "1"), Owner("b", "1"), Owner("c", "1")
ANYONE = Owner("a", "1", bounded=False)
MOST = Most(500, 500, 1000)
PATIENCE = 60


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_who_is_alone_never_waits() -> None:
    clock = Clock()
    processor = Processor(clock)
    processor.spent(A, 10)
    assert processor.wait_seconds(A) == 0
    processor.wanted(B)
    assert processor.wait_seconds(A) == pytest.approx(2 * (MOST_SECONDS - BURST_SECONDS)), (
        "no more than this counts"
    )
    assert processor.wait_seconds(B) == 0
    clock.now += ACTIVE_SECONDS + 0.1
    assert processor.wait_seconds(A) == 0


@pytest.mark.parametrize("tenants", [2, 3, 5])
def test_each_of_several_has_its_part_of_the_time(tenants: int) -> None:
    clock = Clock()
    processor = Processor(clock)
    owners = [Owner(str(number), "1") for number in range(tenants)]
    greedy, used = owners[0], 0.0
    for _ in range(10_000):
        for other in owners[1:]:
            processor.spent(other, 0)
        if processor.wait_seconds(greedy) == 0:
            processor.spent(greedy, 0.005)
            used += 0.005
        clock.now += 0.001
    assert used / 10 == pytest.approx(1 / tenants, rel=0.05)


def test_what_the_process_does_not_get_is_nobodys_share() -> None:
    """Beside other processes half of the time of a clock would be all that there is."""
    clock = Clock()
    processor, used = Processor(clock, lambda: 0.25), 0.0
    for _ in range(10_000):
        processor.spent(B, 0)
        if processor.wait_seconds(A) == 0:
            processor.spent(A, 0.001)
            used += 0.001
        clock.now += 0.001
    assert used / 10 == pytest.approx(0.25 / 2, rel=0.05)


def test_the_kernel_tells_what_the_event_loop_got(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "schedstat"

    def told(ran_ms: int, waited_ms: int) -> float:
        file.write_text(f"{ran_ms * 1_000_000} {waited_ms * 1_000_000} 7\n")
        clock.now += 1
        return found.share()

    file.write_text("0 0 0\n")
    found = Contention(file, clock)
    assert told(100, 0) == 1
    assert told(200, 300) == 0.25
    assert told(200, 301) == 0.25, "hardly wanted: what was measured last"
    assert told(300, 300) == 1
    assert told(301, 9_000) == 0.05
    file.unlink()
    clock.now += 1
    assert found.share() == 0.05
    assert Contention(file, clock).share() == 1
    assert 0 < Contention().share() <= 1


def test_it_waits_until_it_has_made_up_for_what_it_used_and_no_longer() -> None:
    clock = Clock()
    processor = Processor(clock)
    processor.spent(A, 0.12)
    processor.spent(B, 0)
    wait = processor.wait_seconds(A)
    assert wait == pytest.approx(2 * (0.12 - BURST_SECONDS))
    clock.now += wait * 0.99
    assert processor.wait_seconds(A) > 0
    clock.now += wait * 0.01 + 1e-6
    assert processor.wait_seconds(A) == 0


def test_where_nobody_shows_a_credential_nobody_waits() -> None:
    processor = Processor(Clock())
    processor.spent(ANYONE, 1)
    processor.wanted(B)
    assert processor.wait_seconds(ANYONE) == 0


def test_the_other_tenants_work_goes_first_in_every_pool_until_the_share_is_made_up_for() -> None:
    """The first tenant's pieces compute for a tenth of a second each, by the clock that the pools read."""
    clock, computed, began = Clock(), threading.local(), list[str]()
    processor = Processor(clock)
    go_on = threading.Event()

    def seconds() -> float:
        return getattr(computed, "seconds", 0.0)

    def compute(name: str, used: float, wait: bool = False) -> None:
        if wait:
            assert go_on.wait(PATIENCE)
        began.append(name)
        computed.seconds = seconds() + used

    pools = [FairPool(name, 1, MOST, processor=processor, computed=seconds) for name in ("lists", "documents")]
    first: list[Future[None]] = [pools[0].submit(A, compute, "a0", 0.1, True)]
    first += [pools[0].submit(A, compute, f"a{number}", 0.1) for number in range(1, 4)]
    second = [pools[0].submit(B, compute, f"b{number}", 0.001) for number in range(5)]
    go_on.set()
    for each in second:
        each.result(PATIENCE)
    # In another pool, too: it is the same processor.
    elsewhere = pools[1].submit(A, compute, "elsewhere", 0.0)
    pools[1].submit(B, compute, "b5", 0.001).result(PATIENCE)
    assert began == ["a0", *(f"b{number}" for number in range(6))]
    # Nothing is lost: each begins once its time has come.
    clock.now += 10
    for each in [*first, elsewhere]:
        each.result(PATIENCE)
    assert sorted(began) == sorted(["a0", "a1", "a2", "a3", "elsewhere", *(f"b{number}" for number in range(6))])


def test_what_waits_begins_by_itself() -> None:
    clock = Clock()
    processor = Processor(clock)
    pool = FairPool("test", 2, MOST, processor=processor)
    processor.spent(A, BURST_SECONDS + 0.05)
    processor.spent(B, 0)
    waiting = [pool.submit(A, threading.get_ident) for _ in range(3)]
    assert not any(each.done() for each in waiting)
    clock.now += 10
    for each in waiting:
        assert each.result(PATIENCE)


def test_a_pool_that_is_closed_leaves_nobody_waiting() -> None:
    clock = Clock()
    processor = Processor(clock)
    pool = FairPool("test", 1, MOST, processor=processor)
    processor.spent(A, BURST_SECONDS + 0.05)
    processor.spent(B, 0)
    waiting = pool.submit(A, threading.get_ident)
    pool.close()
    clock.now += 10
    with pytest.raises(RuntimeError):
        waiting.result(PATIENCE)
