"""Child processes end with their parent and explain their failures; ports are free; settings travel whole."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli.up import environment
from shared.contracts.errors import ConfigurationError
from shared.local.mongo import find_mongod
from shared.local.processes import Process, ProcessFailed, free_ports, is_free, replace_taken, tail
from shared.settings import Settings
from tests.support.waiting import wait_for

STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked to stop", flush=True))
print("started", flush=True)
while True:
    time.sleep(0.05)
"""

# Starts its child from a thread that ends at once, which must not end the child.
PARENT = """
import sys, threading, time
from pathlib import Path
from shared.local.processes import Process
child = Process("child", ["sleep", "600"], Path(sys.argv[1]))
starter = threading.Thread(target=child.start)
starter.start()
starter.join()
print(child.pid, flush=True)
time.sleep(600)
"""


def python(code: str, log: Path, grace: float = 15.0) -> Process:
    return Process("child", [sys.executable, "-c", code], log, grace=grace)


def wait_until_ended(process: Process) -> None:
    wait_for("the end of the process", lambda: not process.running, pause=0.01)


def wait_for_text(log: Path, text: str) -> None:
    wait_for(f"{text!r} in the log", lambda: log.exists() and text in log.read_text(), pause=0.01)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class TestProcess:
    def test_stops_when_asked(self, tmp_path: Path) -> None:
        process = Process("child", ["sleep", "600"], tmp_path / "log" / "child.log")
        process.start()
        process.check()
        process.stop()
        assert process.returncode == -signal.SIGTERM
        assert process.ending == "SIGTERM"
        process.stop()

    def test_is_killed_when_it_does_not_stop_within_its_grace(self, tmp_path: Path) -> None:
        process = python(STUBBORN, tmp_path / "log", grace=0.3)
        process.start()
        wait_for_text(process.log, "started")
        process.stop()
        assert process.returncode == -signal.SIGKILL
        assert "asked to stop" in process.log.read_text()

    def test_starts_again_and_appends_to_its_log(self, tmp_path: Path) -> None:
        process = python("print('once')", tmp_path / "log")
        for _ in range(2):
            process.start()
            wait_until_ended(process)
        assert process.log.read_text() == "once\nonce\n"

    def test_failure_shows_the_log_since_the_last_start_only(self, tmp_path: Path) -> None:
        process = python("raise SystemExit('so it ends')", tmp_path / "log")
        for _ in range(2):
            process.start()
            wait_until_ended(process)
        with pytest.raises(ProcessFailed) as failure:
            process.check()
        assert str(failure.value).count("so it ends") == 1

    def test_cannot_run_twice_at_once(self, tmp_path: Path) -> None:
        process = Process("child", ["sleep", "600"], tmp_path / "log")
        process.start()
        with pytest.raises(RuntimeError, match="running already"):
            process.start()
        process.kill()

    def test_failure_names_the_process_its_status_and_the_end_of_its_log(self, tmp_path: Path) -> None:
        process = python("[print('line', n) for n in range(50)]; raise SystemExit(3)", tmp_path / "log")
        process.start()
        wait_until_ended(process)
        with pytest.raises(ProcessFailed) as failure:
            process.check()
        message = str(failure.value)
        assert message.startswith(f"child ended with status 3. The end of its log, {process.log}:")
        assert message.endswith("line 49")
        assert "line 34" not in message

    def test_failure_of_a_program_that_is_missing(self, tmp_path: Path) -> None:
        process = Process("child", ["/no/such/program"], tmp_path / "log")
        process.start()
        wait_until_ended(process)
        with pytest.raises(ProcessFailed, match="cannot run /no/such/program"):
            process.check()

    def test_never_started(self, tmp_path: Path) -> None:
        process = Process("child", ["true"], tmp_path / "log")
        process.stop()
        assert not process.running
        with pytest.raises(ProcessFailed, match=r"child was never started(.|\n)*\(empty\)"):
            process.check()

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
    def test_dies_with_its_parent_but_not_with_the_thread_that_started_it(
        self, tmp_path: Path, end: signal.Signals
    ) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            time.sleep(0.2)
            assert is_alive(child)
            parent.send_signal(end)
        wait_for("the end of the child", lambda: not is_alive(child), pause=0.01)

    def test_has_a_session_of_its_own(self, tmp_path: Path) -> None:
        process = Process("child", ["sleep", "600"], tmp_path / "log")
        process.start()
        assert process.pid is not None
        assert os.getsid(process.pid) == process.pid
        process.kill()


def test_tail_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("x" * 100_000 + "\nlast ü\n")
    assert tail(log, 1) == "    last ü"


class TestPorts:
    def test_from_a_base_upwards_without_those_in_use(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert not is_free(port)
            ports = free_ports(3, port)
            assert port not in ports
            assert ports == sorted(set(ports))

    def test_any(self) -> None:
        ports = free_ports(20)
        assert len(set(ports)) == 20
        assert all(is_free(port) for port in ports)

    def test_only_those_in_use_are_replaced(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            free = free_ports(1)[0]
            first, second, third, fourth = replace_taken([port, free, free, 0])
            assert second == free
            assert len({port, first, second, third, fourth}) == 5

    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing goes with a process by itself")
    def test_no_two_processes_choose_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        candidates = free_ports(3, random.randrange(12_000, 19_000))
        monkeypatch.setattr(random, "sample", lambda *_: candidates)
        assert free_ports(1) == candidates[:1]
        script = f"import random; random.sample = lambda *_: {candidates}; "
        script += "from shared.local.processes import free_ports; print(free_ports(1))"
        child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert child.stdout == f"{candidates[1:2]}\n"
        # That process has ended, and with it its choice.
        assert free_ports(2) == candidates[1:]

    def test_too_few_are_left(self) -> None:
        with pytest.raises(ConfigurationError, match="no 100 free ports from 65500"):
            free_ports(100, 65_500)


def test_mongod_that_is_named_but_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_MONGOD", "/no/such/mongod")
    with pytest.raises(ConfigurationError, match="/no/such/mongod"):
        find_mongod()


def test_settings_travel_whole_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Settings.model_validate(
        {
            "kafka": "127.0.0.1:9092",
            "kafka_password": "s3cret",
            "partitions": 2,
            "kind_weights": {"view": 0.25},
            "cache": "off",
        }
    )
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given
