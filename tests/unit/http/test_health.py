"""A worker that does not get on is not ready, and says where it hangs."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.observability.dead_letter_log import DeadLetterLog
from shared.observability.logs import Logfmt
from shared.runtime.partition_state import InFlightCommit, PartitionState
from shared.runtime.protocols import Claim, Message, OutboxBatch, Outcome, Partition, Progress, Slice
from shared.runtime.runner import Runner
from shared.runtime.watchdog import STORE_THREADS, Hang, Watchdog, hangs
from shared.runtime.worker import Worker
from shared.testing.memory import MemoryReader
from tests.support.builders import MemoryKith
from tests.support.runner import (
    PLACE,
    RELATIONS,
    Later,
    PatientPublisher,
    WatchedStore,
    kith_with,
    runner_of,
    steps,
    views,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_equal, wait_for

LIMIT = 30.0


def stuck(runner: Runner, after: float = LIMIT + 1) -> list[Hang]:
    return hangs(runner, LIMIT, time.monotonic() + after)


def lanes_only(runner: Runner) -> list[tuple[str, Partition | None, str | None]]:
    """What hangs in half a minute's time if the runner's thread itself does not."""
    later = time.monotonic() + LIMIT + 1
    runner.doing = runner.doing._replace(since=later)
    return [(hang.step, hang.partition, hang.trouble) for hang in hangs(runner, LIMIT, later)]


def test_an_idle_worker_is_never_stuck() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(4))
    kith.drain()
    assert lanes_only(kith.runner) == []


def test_work_that_came_after_a_long_rest_is_not_stuck_at_once() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(4))
    kith.drain()
    lane = kith.runner.partitions[PLACE]
    lane.moved_at = lane.settled_at = time.monotonic() - 3600
    kith.store.available = False
    kith.publish(views(1, "c2"))
    kith.runner.step(0)
    assert lane.wait is not None
    assert time.monotonic() - lane.wait.since < LIMIT
    assert lanes_only(kith.runner) == [("fold", PLACE, "the store is unavailable")]


def test_a_claim_that_does_not_succeed_is_named() -> None:
    kith = kith_with(WatchedStore())
    kith.store.available = False
    steps(kith, 3)
    assert {hang[0] for hang in lanes_only(kith.runner)} == {"claim"}
    assert len(lanes_only(kith.runner)) == len(kith.inputs)


def test_a_commit_that_fails_again_and_again_is_named_with_its_error() -> None:
    def away(_: int) -> None:
        raise Unavailable("no primary")

    kith = kith_with(WatchedStore(away))
    kith.publish(views(1))
    steps(kith, 5)
    assert lanes_only(kith.runner) == [("commit", PLACE, "no primary")]


def test_a_commit_without_an_answer_is_named() -> None:
    kith = kith_with(WatchedStore())
    later = Later()
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, committer=later)
    kith.reader.assign(kith.inputs)
    kith.publish(views(1))
    steps(kith, 5)
    for _ in ("whether it is known", "what it moves"):
        assert lanes_only(kith.runner) == [("fold", PLACE, None)], "it waits for what it reads"
        later.work()
        steps(kith, 5)
    assert lanes_only(kith.runner) == [("commit", PLACE, None)]
    later.heal()
    kith.drain()
    assert lanes_only(kith.runner) == []


def test_a_publication_without_an_answer_is_named_and_its_failure_too() -> None:
    kith = kith_with(WatchedStore())
    publisher = PatientPublisher(kith.log)
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, publisher=publisher)
    kith.reader.assign(kith.inputs)
    kith.publish(views(2))
    steps(kith, 3)
    assert lanes_only(kith.runner) == [("publish", PLACE, None)]
    kith.publish(views(60))
    steps(kith, 30)
    assert lanes_only(kith.runner) == [("publish", PLACE, None)], "full, so that commits wait for it"
    publisher.waiting.popleft()[0].set_exception(Unavailable("not enough replicas"))
    steps(kith, 1)
    assert lanes_only(kith.runner) == [("publish", PLACE, "not enough replicas")]


def test_progress_begins_the_wait_anew() -> None:
    lane = PartitionState(PLACE, "p")
    lane.open(Claim("p", 1), Progress(0), 0, trimmed=False)
    lane.moved_at = lane.settled_at = time.monotonic() - 100
    lane.pending = InFlightCommit((), Outcome(), Progress(1), 0)
    lane.committed([OutboxBatch("a", ())])
    assert lane.wait is not None
    assert lane.wait.step == "publish"
    assert time.monotonic() - lane.wait.since < 10


class Blocking(WatchedStore):
    """A store whose claim or commit does not return until it is let go."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation
        self.let_go = threading.Event()
        self.reached = threading.Event()

    def _block(self, operation: str) -> None:
        if operation == self.operation:
            self.reached.set()
            self.let_go.wait(PATIENCE_SECONDS)

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        self._block("claim")
        return super().claim(position, owner)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        self._block("commit")
        return super().commit(slice)


@contextmanager
def working(kith: MemoryKith, stuck_seconds: float) -> Iterator[Worker]:
    worker = Worker(lambda: kith.runner, stuck_seconds)
    worker.start()
    try:
        yield worker
    finally:
        if isinstance(kith.store, Blocking):
            kith.store.let_go.set()
        worker.stop()


@pytest.mark.parametrize("operation", ["claim", "commit"])
def test_a_thread_that_does_not_return_is_noticed_and_its_stack_logged_once(
    operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Blocking(operation)
    kith = kith_with(store)
    kith.publish(views(1))

    def lines() -> list[logging.LogRecord]:
        """Of this hang: a machine that stalls may be another one."""
        return [record for record in caplog.records if f"hangs in {operation}" in record.getMessage()]

    with working(kith, stuck_seconds=1.0) as worker:
        assert store.reached.wait(PATIENCE_SECONDS)
        # Before that its partition may have waited for as long already, where the machine stalls.
        begins = f"the worker hangs in {operation} of kith."
        wait_for("it", lambda: [each[: len(begins)] for each in worker.problems()] == [begins], pause=0.01)
        wait_for("the line", lines, pause=0.01)
        time.sleep(1.1)
        (line,) = lines()
        text = Logfmt().format(line)
        assert "level=error" in text
        assert f"step={operation}" in text
        assert "in _block" in text, "the stack names the call that does not return"
        store.let_go.set()
        wait_for("the end of the problem", lambda: not worker.problems(), pause=0.01)
        wait_for("the second line", lambda: "no longer stuck" in caplog.records[-1].getMessage(), pause=0.01)


def test_a_worker_says_what_it_waits_for_before_it_has_begun() -> None:
    def build() -> Runner:
        raise Unavailable("no brokers")

    worker = Worker(build)
    worker.start()
    wait_equal(worker.problems, ["waiting for no brokers"])
    worker.stop()


def test_each_hang_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    now, found = 100.0, list[Hang]()
    watchdog = Watchdog(lambda _: found, threading.current_thread(), lambda: now)
    caplog.set_level(logging.INFO)
    found.append(Hang("commit", PLACE, 60.0, "no primary", False))
    watchdog.look()
    watchdog.look()
    found.clear()
    watchdog.look()
    watchdog.look()
    stuck_line, fine_line = caplog.records
    assert stuck_line.getMessage() == f"stuck: {PLACE} has been stuck in commit for 40 s: no primary"
    text = Logfmt().format(stuck_line)
    assert f"step=commit seconds=40 topic={RELATIONS} partition=0" in text
    assert "stack" not in text
    assert fine_line.getMessage() == f"no longer stuck: {PLACE}"


def test_partitions_that_hang_in_one_place_show_it_once(caplog: pytest.LogCaptureFixture) -> None:
    let_go = threading.Event()
    thread = threading.Thread(target=let_go.wait, name=f"{STORE_THREADS}_0")
    thread.start()
    try:
        found = [Hang("commit", Partition(RELATIONS, n), 60.0, None, False) for n in range(3)]
        Watchdog(lambda _: found, threading.current_thread(), lambda: 100.0).look()
    finally:
        let_go.set()
        thread.join()
    lines = [Logfmt().format(line) for line in caplog.records]
    assert ["stack=" in line for line in lines] == [True, False, False]
    assert [f"partition={n}" in line for n, line in enumerate(lines)] == [True] * 3


def bad(kith: MemoryKith, count: int) -> None:
    for n in range(count):
        value = b'{"type": "nonsense", "id": "e\\n%d", "tenant": "acme", "data": {"name": "Ada"}}' % n
        kith.log.append(Message(RELATIONS, b"k", value))


def dead_letters(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log says of dead letters; it names rebalances, too."""
    return [record for record in caplog.records if record.name == DeadLetterLog.__module__]


def test_a_dead_letter_is_a_line_that_tells_where_and_why_but_no_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kith = kith_with(WatchedStore())
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, observer=DeadLetterLog())
    kith.reader.assign(kith.inputs)
    bad(kith, 1)
    kith.publish(views(1))
    kith.drain()
    (record,) = dead_letters(caplog)
    line = Logfmt().format(record)
    assert "level=info" in line
    assert line.endswith(
        f'message="dead letter" reason=unknown_type field=type topic={RELATIONS} partition=0 offset=0 '
        'event_id="e\\n0" tenant=acme'
    )
    assert "Ada" not in line


def test_a_flood_of_dead_letters_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    kith = kith_with(WatchedStore())
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, 50, observer=DeadLetterLog(lambda: now))
    kith.reader.assign(kith.inputs)
    bad(kith, 500)
    kith.drain()
    assert len(dead_letters(caplog)) == 100
    now = 2.0
    bad(kith, 1)
    kith.drain()
    assert len(dead_letters(caplog)) == 102
    assert "count=400" in Logfmt().format(dead_letters(caplog)[-1])


@pytest.mark.parametrize(
    ("error", "shown"), [(ConfigurationError("the topic is another one"), False), (KeyError("x"), True)]
)
def test_a_stack_is_logged_only_of_what_its_message_does_not_explain(
    error: Exception, shown: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> Runner:
        raise error

    told: list[int] = []
    monkeypatch.setattr("shared.runtime.worker.os.kill", lambda _, number: told.append(number))
    worker = Worker(build)
    worker.start()
    wait_equal(lambda: told, [signal.SIGTERM])
    with pytest.raises(type(error)):
        worker.stop()
    (line,) = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert ("Traceback" in Logfmt().format(line)) is shown
    assert f"the worker stops: {error}" in line.getMessage()
