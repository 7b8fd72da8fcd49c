"""What a service logs of its readiness: each change once, and why."""

import logging

import pytest

from shared.http.health import ReadinessLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_a_change_is_logged_once(said: pytest.LogCaptureFixture) -> None:
    log = ReadinessLog()
    for reasons in ([], [], ["needs the master key"], ["needs the master key"], [], []):
        log.note(reasons)
    assert said.messages == ["ready", "not ready: needs the master key", "ready"]


def test_a_number_that_grows_is_no_other_reason_and_another_reason_waits(said: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    log = ReadinessLog(clock)
    for seconds, reason in enumerate(
        ("stuck for 31 s", "stuck for 36.5 s", "waiting for Kafka", "waiting for Kafka")
    ):
        clock.now = seconds * 15
        log.note([reason])
    assert said.messages == ["not ready: stuck for 31 s", "not ready: waiting for Kafka"]
