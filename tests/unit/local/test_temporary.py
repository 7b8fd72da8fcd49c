"""The folder of a stack without data of its own, with a master key in it."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shared.local.servers import data_folder
from shared.local.temporary import remove_abandoned

KILLED = """
import os, pathlib, sys
from shared.local.servers import data_folder
with data_folder(None) as folder:
    (folder / "mongo").mkdir()
    (folder / "master.key").write_text("secret")
    print(folder, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_leaves_is_removed_and_nothing_else(place: Path) -> None:
    (place / "kith-mine").mkdir()
    (place / "kith-mine" / "master.key").write_text("kept: it was given by --data")
    (place / "kith-mine" / "kith.lock").touch()
    with subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        folder = Path(child.stdout.readline().decode().strip())
        assert remove_abandoned() == [], "it is in use"
        assert (folder / "master.key").exists()
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.wait()
    assert (folder / "master.key").exists()
    with data_folder(None) as own:
        assert remove_abandoned() == [folder]
        assert sorted(entry.name for entry in place.iterdir()) == sorted(["kith-mine", own.name])
    assert [entry.name for entry in place.iterdir()] == ["kith-mine"]


def test_after_an_error_only_the_logs_stay(place: Path) -> None:
    folder = place

    def fail() -> None:
        nonlocal folder
        with data_folder(None) as folder:
            (folder / "log").mkdir()
            (folder / "log" / "kafka.log").touch()
            (folder / "master.key").touch()
            (folder / "mongo").mkdir()
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert [entry.name for entry in folder.iterdir()] == ["log"]
    assert remove_abandoned() == []
    assert list(place.iterdir()) == [folder]
