"""What waits for others goes on by itself once somebody has mended what kept it."""

import time
from collections.abc import Callable

import pytest

from shared import gating, ledger
from shared.errors import ConfigurationError
from shared.gating import Waiting
from shared.settings import Settings


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_gate_opens_once_its_right_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gating, "_TROUBLE_SECONDS", 0.01)
    granted = False

    class Gate(Waiting):
        def look(self) -> list[str]:
            if not granted:
                raise ConfigurationError("not authorised")
            return []

    gate = Gate("nothing is known")
    assert gate.problems() == ["nothing is known"]
    gate.start()
    until(lambda: gate.problems() and "cannot be read" in gate.problems()[0])
    granted = True
    until(lambda: gate.open)
    assert gate.problems() == []
    gate.stop()


def test_a_ledger_that_may_not_be_read_for_a_while_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_TROUBLE_SECONDS", 0.01)
    allowed, opened = True, 0

    class Topic:
        caught_up = True

        def __init__(self, settings: Settings) -> None:
            nonlocal opened
            del settings
            opened += 1

        def poll(self, timeout_ms: int, entries: object) -> None:
            del timeout_ms, entries
            if not allowed:
                raise ConfigurationError("not authorised")
            time.sleep(0.001)

        def close(self) -> None: ...

    monkeypatch.setattr(ledger, "_Topic", Topic)
    followed = ledger.Ledger(Settings())
    followed.start()
    until(lambda: not followed.problems())
    allowed = False
    until(followed.problems)
    allowed = True
    until(lambda: not followed.problems())
    assert opened > 1
    followed.stop()
