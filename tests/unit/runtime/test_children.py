"""Child processes that answer: whatever happens to one, its parent gets an answer or an error, and none stays."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.runtime.children import NICENESS, ChildEnded, Children, ChildTooSlow
from shared.runtime.interruption import Interrupted, Interruption
from tests.support.waiting import PATIENCE_SECONDS, wait_for

CHILD = """
import os, sys, time
from shared.runtime.children import answer_parent, confine
from shared.runtime.interruption import Interrupted, current

def answer(request):
    what, _, rest = request.decode().partition(" ")
    if what == "pid":
        return str(os.getpid()).encode()
    if what == "nice":
        return str(os.nice(0)).encode()
    if what == "sleep":
        open(rest, "w").close()
        time.sleep(600)
    if what == "wait":
        open(rest, "w").close()
        while True:
            try:
                current().check()
            except Interrupted:
                return b"interrupted"
            time.sleep(0.01)
    if what == "exit":
        sys.exit(int(rest))
    if what == "memory":
        try:
            bytearray(int(rest))
        except MemoryError:
            return b"too much"
    return request

confine(1 << 30)
answer_parent(answer, float(sys.argv[1]))
"""


@contextmanager
def children(most: int = 1, seconds: float = 60, idle: float = 60) -> Iterator[Children]:
    made = Children([sys.executable, "-c", CHILD, str(idle)], most, seconds)
    try:
        yield made
    finally:
        made.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def interrupt_once(there: Path, work: Interruption) -> None:
    def interrupt() -> None:
        wait_for("the child", there.exists)
        work.interrupt()

    threading.Thread(target=interrupt).start()


def test_one_child_answers_one_request_after_the_other_at_a_lower_priority() -> None:
    with children() as asked:
        first = asked.ask(b"pid")
        assert asked.ask(b"pid") == first
        assert int(asked.ask(b"nice")) == min(os.nice(0) + NICENESS, 19)
        assert asked.ask(b"x" * 300_000) == b"x" * 300_000
    assert not alive(int(first))


def test_no_more_children_than_allowed_and_each_works_at_the_same_time(tmp_path: Path) -> None:
    with children(2) as asked:

        def hold() -> None:
            with pytest.raises(ChildEnded):
                asked.ask(f"sleep {tmp_path}/1".encode())

        held = threading.Thread(target=hold)
        held.start()
        wait_for("the child", (tmp_path / "1").exists)
        pids = {asked.ask(b"pid") for _ in range(3)}
        assert len(pids) == 1, "the one that is not held answers all"
        assert len(asked.running) == 2
        asked.close()
        held.join(PATIENCE_SECONDS)
        assert not held.is_alive()


def test_the_first_request_starts_one_more_for_who_comes_next() -> None:
    with children(3) as asked:
        asked.ask(b"pid")
        assert len(asked.running) == 2
        pids = asked.running
    assert not any(map(alive, pids))


def test_a_killed_child_is_an_error_at_once_and_the_next_request_gets_another(tmp_path: Path) -> None:
    with children() as asked:
        pid = int(asked.ask(b"pid"))

        def kill() -> None:
            wait_for("the child", (tmp_path / "here").exists)
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(ChildEnded, match="ended by the signal SIGKILL"):
            asked.ask(f"sleep {tmp_path}/here".encode())
        killer.join()
        assert int(asked.ask(b"pid")) != pid


def test_the_time_limit_ends_the_child(tmp_path: Path) -> None:
    with children(seconds=0.3) as asked, pytest.raises(ChildTooSlow):
        asked.ask(f"sleep {tmp_path}/here".encode())
    with children() as asked, pytest.raises(ChildEnded, match="ended with status 3"):
        asked.ask(b"exit 3")
    with children() as asked, pytest.raises(ChildEnded, match="before it answered"):
        asked.ask(b"exit 0")


def test_memory_is_bounded() -> None:
    with children() as asked:
        assert asked.ask(b"memory 1000000") == b"memory 1000000"
        assert asked.ask(b"memory 2000000000") == b"too much"


def test_an_interrupted_request_ends_and_a_child_that_does_not_notice_is_killed(tmp_path: Path) -> None:
    with children() as asked:
        pid = int(asked.ask(b"pid"))
        work = Interruption("1")
        interrupt_once(tmp_path / "a", work)
        with work.active():
            assert asked.ask(f"wait {tmp_path}/a".encode()) == b"interrupted"
        assert int(asked.ask(b"pid")) == pid, "it goes on with the next request"
        other = Interruption("2")
        interrupt_once(tmp_path / "b", other)
        with other.active(), pytest.raises(Interrupted):
            asked.ask(f"sleep {tmp_path}/b".encode())
        assert not alive(pid)


class Late(Interruption):
    """Work whose end another thread has seen as not over yet, when it is."""

    def __init__(self) -> None:
        super().__init__("late")
        self.ends: list[Callable[[str], object]] = []

    @contextmanager
    def during(self, end: Callable[[str], object]) -> Iterator[None]:
        self.ends.append(end)
        with super().during(end):
            yield


def test_an_interruption_that_comes_after_the_answer_is_not_for_the_next_request(tmp_path: Path) -> None:
    there, work, found = tmp_path / "there", Late(), []
    with children() as pool:
        with work.active():
            assert pool.ask(b"hello") == b"hello"
        next_one = threading.Thread(target=lambda: found.append(waited(pool, there)))
        next_one.start()
        wait_for("the child", there.exists)
        [end] = work.ends
        end("late")
        # Whatever was sent to the child it would have noticed by then.
        next_one.join(1.0)
        assert next_one.is_alive()
        pool.close()
        next_one.join()
    assert found == ["ended"]


def waited(pool: Children, there: Path) -> str:
    try:
        return pool.ask(f"wait {there}".encode()).decode()
    except ChildEnded:
        return "ended"


def test_a_child_that_is_not_needed_ends_and_is_replaced_without_a_word() -> None:
    with children(idle=0.2) as asked:
        pid = int(asked.ask(b"pid"))
        # Still a zombie: it is waited for with the next request.
        wait_for("its end", lambda: " Z " in Path(f"/proc/{pid}/stat").read_text())
        assert int(asked.ask(b"pid")) != pid


def test_children_end_with_their_parent_in_the_middle_of_their_work(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys\nfrom shared.runtime.children import Children\n"
            "asked = Children([sys.executable, '-c', sys.argv[1], '60'], 1, 60)\n"
            "print(asked.ask(b'pid').decode(), flush=True)\nasked.ask(f'sleep {sys.argv[2]}'.encode())",
            CHILD,
            f"{tmp_path}/here",
        ],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
        wait_for("the child", (tmp_path / "here").exists)
        parent.kill()
        parent.wait()
    wait_for("its end", lambda: not alive(pid) or " Z " in Path(f"/proc/{pid}/stat").read_text())


def test_a_closed_pool_says_so() -> None:
    with children() as asked:
        asked.close()
        with pytest.raises(ChildEnded, match="the service stops"):
            asked.ask(b"pid")
