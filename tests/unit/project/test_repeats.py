"""What is repeated of a test run: a wait that ran out, once; what is wrong, never."""

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

SUITE = """
from tests.support.waiting import Deadline, wait_for

runs = {"late": 0, "never": 0, "wrong": 0}

def again(name):
    runs[name] += 1
    return runs[name]

def test_late_once():
    wait_for("the second run", lambda: again("late") == 2, seconds=0)

def test_never():
    assert again("never") <= 2, "it was repeated more than once"
    Deadline(0).check("what never comes")

def test_wrong():
    assert again("wrong") != 1, "this is wrong"
"""


def test_a_wait_that_ran_out_is_repeated_once_and_shown(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    options = ["-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path / "test_suite.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "2 failed, 1 passed, 2 rerun" in ran.stdout, ran.stdout
    assert "within 0 s: the second run did not come" in ran.stdout, "the report shows what was late"
    assert "AssertionError: this is wrong" in ran.stdout
    assert "AssertionError: it was repeated" not in ran.stdout
