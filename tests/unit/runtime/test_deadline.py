"""A process that was told to stop and hangs on its way out ends by itself, and says where it hung."""

import signal
import subprocess
import sys

from tests.support.waiting import PATIENCE_SECONDS

SERVICE = """
import functools, sys, threading, time
from fastapi import FastAPI
from shared.http import serving
from shared.observability import logs
from shared.runtime.deadline import end_within

def hangs_on_its_way_out():
    time.sleep(float(sys.argv[1]))

logs.configure("info")
serving.end_within = functools.partial(end_within, float(sys.argv[2]))
serving.serve(FastAPI(), "127.0.0.1", 0, hangs_on_its_way_out)
"""


def stopped(seconds: float, allowed: float) -> tuple[int, str]:
    """The status and the log of a service that takes so long to close, and may take so long to end."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(seconds), str(allowed)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        log = process.stderr.readline()
        assert "listening" in log
        process.send_signal(signal.SIGTERM)
        log += process.communicate(timeout=PATIENCE_SECONDS)[1]
    return process.returncode, log


def test_it_ends_and_shows_the_stack() -> None:
    status, log = stopped(300, 1)
    assert status == 1
    assert "a server still does not answer" in log
    assert "hangs_on_its_way_out" in log


def test_one_that_ends_in_time_is_left_alone() -> None:
    status, log = stopped(0, PATIENCE_SECONDS)
    assert (status, "a server still" in log) == (0, False)
