"""The name of a process in positions and leases."""

import os
import socket

import pytest

from shared.runtime import worker
from shared.runtime.worker import owner_name


def test_it_stays_the_same_and_says_where_the_process_is() -> None:
    assert owner_name() == owner_name()
    assert owner_name().startswith(f"{socket.gethostname()}/")
    assert owner_name().endswith(f"/{os.getpid()}")


def test_a_container_that_is_started_again_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same host name, and its only process the same id. Else the dead one would seem alive, and the
    partitions that it had would seem read."""
    monkeypatch.setattr("shared.runtime.worker.os.getpid", lambda: 1)
    before = owner_name()
    worker._random_part.cache_clear()
    assert owner_name() != before
