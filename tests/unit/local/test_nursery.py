"""The nursery of workers: one failure in it, or an interrupted test, is not one of all tests after it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.local.processes import Process
from tests.support.nursery import Worker
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no nursery")

Start = Callable[[str], Process]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a worker of a service that cannot be imported, in a nursery of these tests'."""
    folder = tmp_path_factory.mktemp("nursery")

    def start(name: str) -> Process:
        argv = [sys.executable, "-m", "services.nothing"]
        started = Worker(name, argv, folder / f"{name}.log", {**os.environ, "PYTHONPATH": str(ROOT)})
        started.start()
        return started

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_nursery", None)
        yield start
        if Worker._nursery is not None:
            Worker._nursery._process.kill()
            Worker._nursery._socket.close()


class Interrupted:
    """A socket on which Ctrl-C comes between a request and its answer."""

    def __init__(self, socket: Any) -> None:
        self.send = socket.send

    def recv(self, _: int) -> bytes:
        raise KeyboardInterrupt


def test_a_failed_import_and_an_interrupted_request_are_the_workers_own(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start("first")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(Worker._nursery, "_socket", Interrupted(Worker._nursery._socket))  # type: ignore[union-attr]
        with pytest.raises(KeyboardInterrupt):
            _ = first.running
    second = start("second")
    for each in (first, second):
        each._wait(60)
        assert each.returncode == 1
        assert "No module named" in each.log.read_text()
    assert second.pid != first.pid


def test_a_nursery_that_ends_takes_its_workers_along_and_the_next_one_gets_another(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    first = start("first")
    Worker._nursery._process.kill()  # type: ignore[union-attr]
    first.kill()
    assert first.returncode == -signal.SIGKILL
    assert "the nursery has ended" in capsys.readouterr().err
    second = start("second")
    second._wait(60)
    assert second.returncode == 1
