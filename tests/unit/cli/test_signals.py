"""A command that a signal ends leaves no file that is not complete."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.signals import ends_as_interrupted
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
#: Until a file is begun, and then no further.
SCRIPT = """
import sys, time

def block(*_, **__):
    print("begun", flush=True)
    time.sleep(600)

def rows():
    block()
    yield []

def exports(*_):
    from datetime import UTC, datetime
    from services.exports.datasets import DATASETS
    from services.exports.source import Export
    dataset = DATASETS["relations"]
    yield Export("relations", "default", dataset.columns, datetime.now(UTC), rows(), "time")

import services.backup.dump, services.cli.export
services.backup.dump.record_act = block
services.cli.export._exports = exports
from services.cli.__main__ import main
main()
"""
COMMANDS = {
    "backup": ("backup", "backup"),
    "export": ("export", "relations", "--out", "relations.csv"),
    "export by day": ("export", "relations", "--out", "relations", "--partition-by", "day"),
    "export into Tableau": ("export", "relations", "--out", "relations.hyper"),
}


def ended(command: str, number: signal.Signals, folder: Path, ignored: bool = False) -> subprocess.Popen[str]:
    """The process of a command that got a signal in the middle of its work."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
    temporary = folder / "tmp"
    temporary.mkdir()
    environment |= {"KITH_KAFKA": "127.0.0.1:1", "KITH_MONGO": "mongodb://127.0.0.1:1/?replicaSet=x"}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        [*(["nohup"] if ignored else []), sys.executable, "-c", SCRIPT, *COMMANDS[command]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n", process.communicate()
    process.send_signal(number)
    return process


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "tmp")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_leaves_nothing_half_written(command: str, number: signal.Signals, tmp_path: Path) -> None:
    process = ended(command, number, tmp_path)
    _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert left(tmp_path) == []


def test_a_second_signal_does_not_end_the_removal() -> None:
    removed = []

    def work() -> None:
        with ends_as_interrupted():
            try:
                signal.raise_signal(signal.SIGHUP)
            finally:
                signal.raise_signal(signal.SIGHUP)
                signal.raise_signal(signal.SIGTERM)
                removed.append("file")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert removed == ["file"]
    assert signal.getsignal(signal.SIGHUP) is signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_nohup_has_ignored_stays_ignored(tmp_path: Path) -> None:
    process = ended("backup", signal.SIGHUP, tmp_path, ignored=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
        assert left(tmp_path) == ["backup.part"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert left(tmp_path) == []
    finally:
        process.kill()
        process.communicate()
