"""What waits for others goes on by itself once somebody has mended what kept it."""

import time

import pytest

from shared.contracts.errors import ConfigurationError
from shared.erasure import ledger
from shared.runtime import readiness
from shared.runtime.readiness import ReadinessGate
from shared.settings import Settings
from tests.support.waiting import wait_for


def test_a_gate_opens_once_its_right_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_TROUBLE_SECONDS", 0.01)
    granted = False

    class Gate(ReadinessGate):
        def look(self) -> list[str]:
            if not granted:
                raise ConfigurationError("not authorised")
            return []

    gate = Gate("nothing is known")
    assert gate.problems() == ["nothing is known"]
    gate.start()
    wait_for("its trouble", lambda: gate.problems() and "cannot be read" in gate.problems()[0], pause=0.005)
    granted = True
    wait_for("the opening", lambda: gate.open, pause=0.005)
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
    wait_for("the ledger", lambda: not followed.problems(), pause=0.005)
    allowed = False
    wait_for("its trouble", followed.problems, pause=0.005)
    allowed = True
    wait_for("the ledger", lambda: not followed.problems(), pause=0.005)
    assert opened > 1
    followed.stop()
